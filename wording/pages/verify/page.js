// The page around DiscCheck. Whatever comes from the disc is put into the document as text, never as markup.

const MOST_SHOWN = 200; // findings of one kind

/** A value for a person: what ends a line, controls a terminal or turns the text around it becomes its escape. */
function shownText(value) {
  const odd = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
  return String(value).slice(0, 4000).replace(odd, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

/** A text of the catalogue with its {fields} filled in. */
function filledIn(template, values) {
  return template.replace(/\{(\w+)\}/g, (field, name) => (Object.hasOwn(values, name) ? shownText(values[name]) : field));
}

/** An instant as the other pages write it, of RFC 3339 text in its own offset; any other text as it is. */
function instantText(value, language) {
  const parts = /^(\d{4})-(\d\d)-(\d\d)T(\d\d:\d\d:\d\d)/.exec(value);
  if (!parts) return value;
  const [, year, month, day, time] = parts;
  return language === "zh" ? `${year}年${month}月${day}日 ${time}` : `${year}-${month}-${day} ${time}`;
}

/** The present, in this computer's own zone, as the beginning of RFC 3339. */
function localNow() {
  const now = new Date();
  return new Date(now.getTime() - now.getTimezoneOffset() * 60000).toISOString();
}

/** Path to file of what was chosen with the button. */
function filesOfInput(list) {
  return new Map(Array.from(list, (file) => [file.webkitRelativePath || file.name, file]));
}

/** Path to file of what was dropped. Raises where the browser does not let the page read folders. */
async function filesOfDrop(items) {
  // Both must be asked before the first wait: afterwards the items are gone.
  const asked = Array.from(items).filter((item) => item.kind === "file");
  const handles = asked.map((item) => (item.getAsFileSystemHandle ? item.getAsFileSystemHandle() : null));
  const entries = asked.map((item) => (item.webkitGetAsEntry ? item.webkitGetAsEntry() : null));
  const found = new Map();
  for (let n = 0; n < asked.length; n++) {
    const handle = handles[n] && (await handles[n].catch(() => null));
    if (handle) await addHandle(handle, "", found);
    else if (entries[n]) await addEntry(entries[n], "", found);
  }
  return found;
}

async function addHandle(handle, folder, found) {
  if (found.size > MOST_FILES) return;
  if (handle.kind === "file") found.set(folder + handle.name, await handle.getFile());
  else for await (const inner of handle.values()) await addHandle(inner, folder + handle.name + "/", found);
}

async function addEntry(entry, folder, found) {
  if (found.size > MOST_FILES) return;
  if (entry.isFile) {
    found.set(folder + entry.name, await new Promise((done, failed) => entry.file(done, failed)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return;
    for (const inner of some) await addEntry(inner, folder + entry.name + "/", found);
  }
}

/** The page's own life: one check at a time, and what is shown of it. */
class CheckPage {
  constructor(texts) {
    this.texts = texts;
    this.language = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
    this.state = "idle"; // idle, listing, reading, done
    this.report = null;
    this.failure = null; // an answer without a report
    this.asked = false; // to stop
    this.at = null;
    const on = (id, kind, act) => this.part(id).addEventListener(kind, act);
    on("language", "click", () => this.turn());
    on("folder", "change", (event) => this.begin(async () => filesOfInput(event.target.files)));
    on("stop", "click", () => (this.asked = true));
    on("print", "click", () => window.print());
    on("typed", "input", () => this.show());
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => this.drop(event));
    this.part("tool").hidden = false;
    this.show();
  }

  part(id) {
    return document.getElementById(id);
  }

  say(code, values = {}) {
    return filledIn(this.texts[this.language][code] ?? code, values);
  }

  turn() {
    this.language = this.language === "zh" ? "en" : "zh";
    document.documentElement.lang = this.language === "zh" ? "zh-CN" : "en";
    this.show();
  }

  drop(event) {
    event.preventDefault();
    const reading = filesOfDrop(event.dataTransfer.items);
    this.begin(() => reading, "web-drop-refused");
  }

  /** list: gives the files. refused: the code of the answer where the browser does not give them. */
  async begin(list, refused) {
    if (this.state === "listing" || this.state === "reading") return;
    this.asked = false;
    this.report = this.failure = null;
    this.state = "listing";
    this.show();
    try {
      let files;
      try {
        files = await list();
      } catch (error) {
        if (!refused) throw error;
        this.failure = { says: "unknown", code: refused, values: {} };
        return;
      }
      if (files.size > MOST_FILES) throw new RangeError(`more than ${MOST_FILES} files`);
      const check = new DiscCheck(files, (...read) => this.progress(...read), () => this.asked);
      this.state = "reading";
      this.show();
      this.report = await check.run();
    } catch (error) {
      this.failure = this.failureOf(error);
    } finally {
      this.state = "done";
      this.at = localNow();
      this.part("folder").value = ""; // so that the same folder can be chosen again
      this.show();
    }
  }

  failureOf(error) {
    const codes = [[NoList, "web-answer-no-list"], [Stopped, "web-answer-stopped"]];
    const [, code] = codes.find(([kind]) => error instanceof kind) ?? [null, "web-answer-failed"];
    return { says: "unknown", code, values: { why: String(error) } };
  }

  progress(done, total, path) {
    const percent = total ? Math.floor((100 * done) / total) : 100;
    this.part("bar").value = percent;
    this.part("reading").textContent = this.say("web-reading", { percent, total: Math.ceil(total / 1e6), path });
  }

  show() {
    document.title = this.say("web-title");
    for (const each of document.querySelectorAll("[data-text]")) each.textContent = this.say(each.dataset.text);
    const busy = this.state === "listing" || this.state === "reading";
    this.part("choosing").hidden = busy;
    this.part("working").hidden = !busy;
    this.part("result").hidden = this.state !== "done";
    if (this.state === "listing") this.part("reading").textContent = this.say("web-listing");
    if (this.state === "done") this.showResult();
    document.documentElement.dataset.state = this.state;
  }

  showResult() {
    const typed = this.part("typed").value;
    const answer = this.failure ?? answerOf(this.report, typed);
    const box = this.part("answer");
    box.textContent = this.say(answer.code, answer.values);
    box.className = answer.says;
    document.documentElement.dataset.answer = answer.code;
    this.part("details").hidden = !this.report;
    this.part("warnings").replaceChildren();
    if (!this.report) return;
    this.showKey(typed);
    this.showFindings();
    this.showFacts();
    const unknown = ["key", "record", "packets", "hidden"];
    if (!this.report.key || compareFingerprint(typed, this.report.key) !== "equal") unknown.unshift("fingerprint");
    this.fill("not-checked", unknown.map((what) => [this.say("web-not-checked-" + what)]));
  }

  showKey(typed) {
    this.part("key").hidden = !this.report.key;
    if (!this.report.key) return;
    this.part("fingerprint").textContent = fingerprintOf(this.report.key);
    const compared = compareFingerprint(typed, this.report.key);
    const said = this.part("compared");
    said.textContent = this.say(compared === "none" ? "web-fingerprint-not-compared" : "web-fingerprint-" + compared);
    said.className = { equal: "yes", other: "no" }[compared] ?? "unknown";
  }

  showFindings() {
    const rows = [];
    for (const [kind, mark] of [["problem", "✗"], ["unread", "?"], ["good", "✓"]]) {
      const found = this.report.findings.filter((finding) => finding.kind === kind);
      rows.push(...found.slice(0, MOST_SHOWN).map(({ code, values }) => [`${mark} ${this.say(code, values)}`, kind]));
      const more = found.length - MOST_SHOWN;
      if (more > 0) rows.push([`${mark} ${this.say("web-more-problems", { count: more })}`, kind]);
    }
    this.fill("found", rows);
    const notes = this.report.findings.filter((finding) => finding.kind === "note");
    this.fill("warnings", notes.map(({ code, values }) => [`! ${this.say(code, values)}`, "note"]));
  }

  showFacts() {
    const by = this.report.signaturesBy;
    const rows = [
      ...this.report.facts,
      ["web-list-digest", this.report.listDigest],
      ["web-checked-at", this.at],
      ["web-checked-with", navigator.userAgent],
      ["web-signatures-by", by ? this.say(by === "browser" ? "web-by-browser" : "web-by-page") : ""],
    ].filter(([, value]) => value);
    const body = this.part("facts");
    body.replaceChildren();
    for (const [code, value] of rows) {
      const row = body.insertRow();
      const name = document.createElement("th");
      name.textContent = this.say(code);
      row.append(name);
      row.insertCell().textContent = shownText(instantText(value, this.language));
    }
  }

  /** Lines of a list. rows: text, and the line's class. */
  fill(id, rows) {
    const lines = rows.map(([text, kind]) => {
      const line = document.createElement("li");
      line.textContent = text;
      line.className = kind ?? "";
      return line;
    });
    this.part(id).replaceChildren(...lines);
  }
}

export { filledIn, instantText };

if (typeof document !== "undefined") new CheckPage(JSON.parse(document.getElementById("texts").textContent));
