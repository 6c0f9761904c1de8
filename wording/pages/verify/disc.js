// Is every file of a disc what its key signed? Takes the files of a folder, gives findings as codes of texts with values.
// Nothing here knows the document. The form of the disc: docs/formats.md of the recording system.

const LIST = "data/sha256sums";
const KEY = "device.pub";
const RAW = ".sig.bin";
const JOURNAL_HEAD = "data/journal.head.txt";
const ARCHIVE_LISTS = ["manifest-sha256.txt", "tagmanifest-sha256.txt"];
// What the list does not name: itself, the signatures made with it, and the lists for archives.
const UNLISTED = [LIST, LIST + RAW, "data/delivery.sig", "data/delivery" + RAW, ...ARCHIVE_LISTS];
const PIECE_BYTES = 1 << 22; // read at once: memory does not grow with a file
const MOST_TEXT_BYTES = 1 << 26; // of a file that is looked into
const MOST_FILES = 100000;
const KEY_HEAD = "302a300506032b6570032100"; // of an Ed25519 key's DER, before its 32 bytes (RFC 8410)

class Stopped extends Error {}
class NoList extends Error {}

const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const textOf = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
const digestOf = (bytes) => toHex(new Sha256().update(bytes).digest());

/** What people compare: the first 32 hexadecimal digits of the SHA-256 of the key's 32 bytes, in groups of four. */
const fingerprintOf = (key) => digestOf(key).slice(0, 32).match(/.{4}/g).join(" ");

/** How a fingerprint that somebody typed stands to a key: "none", "equal", "half", "other" or "unreadable". */
function compareFingerprint(typed, key) {
  const digits = typed.toLowerCase().replace(/[\s:.-]/g, "");
  if (!digits) return "none";
  if (!/^(?:[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{64})$/.test(digits)) return "unreadable";
  if (!digestOf(key).startsWith(digits)) return "other";
  return digits.length < 32 ? "half" : "equal";
}

/** The 32 bytes of a PEM file with an Ed25519 key, or null. */
function readKey(pem) {
  const found = /^-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END PUBLIC KEY-----\s*$/.exec(pem);
  if (!found) return null;
  let der;
  try {
    der = Uint8Array.from(atob(found[1].replace(/\s/g, "")), (c) => c.charCodeAt(0));
  } catch {
    return null;
  }
  return der.length === 44 && toHex(der.subarray(0, 12)) === KEY_HEAD ? der.slice(12) : null;
}

/** Whether the signature is the key's over the message. used.by: "browser", or "page" where the browser has no Ed25519. */
async function verifySignature(key, signature, message, used) {
  if (signature.length !== 64) return false;
  const subtle = globalThis.crypto?.subtle;
  if (subtle && used.by !== "page") {
    try {
      const known = await subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
      const fits = await subtle.verify({ name: "Ed25519" }, known, signature, message);
      used.by = "browser";
      return fits;
    } catch {
      // this browser does not have it
    }
  }
  used.by = "page";
  hashes.sha512 = sha512;
  return verify(signature, message, key, { zip215: false });
}

/** Path to SHA-256 from a list as sha256sum writes it; null where it is none. */
function parseList(text) {
  const found = new Map();
  const lines = text.split("\n");
  if (lines.pop() !== "") return null;
  for (const line of lines) {
    const match = /^([0-9a-f]{64}) {2}([^\r\\]+)$/.exec(line);
    if (!match || found.has(match[2])) return null;
    found.set(match[2], match[1]);
  }
  return found;
}

/** The files of the disc among those of a folder: path on the disc to file. The shortest path to the list tells the folder. */
function discOf(files) {
  const lists = [...files.keys()].filter((path) => path === LIST || path.endsWith("/" + LIST));
  if (!lists.length) throw new NoList();
  const root = lists.reduce((one, other) => (other.length < one.length ? other : one)).slice(0, -LIST.length);
  return new Map([...files].filter(([path]) => path.startsWith(root)).map(([path, file]) => [path.slice(root.length), file]));
}

/** Reads a disc's files and judges them. */
class DiscCheck {
  /**
   * files: Map of path to Blob. progress: called with the bytes read, all bytes, and the path. stopped: whether to give up.
   */
  constructor(files, progress = () => {}, stopped = () => false) {
    this.files = discOf(files);
    this.progress = progress;
    this.stopped = stopped;
    this.findings = [];
    this.digests = new Map();
    this.used = { by: "" };
    this.done = 0;
    this.total = [...this.files.values()].reduce((sum, file) => sum + file.size, 0);
  }

  problem(code, values) {
    this.findings.push({ kind: "problem", code, values });
  }

  note(code, values) {
    this.findings.push({ kind: "note", code, values });
  }

  good(code, values) {
    this.findings.push({ kind: "good", code, values });
  }

  /** A small file's bytes; null where it is missing, too large or cannot be read, which is then among the findings. */
  async small(path) {
    const file = this.files.get(path);
    if (!file) {
      this.problem("web-file-missing", { path });
      return null;
    }
    if (file.size > MOST_TEXT_BYTES) {
      this.problem("web-list-unreadable", { path });
      return null;
    }
    try {
      return new Uint8Array(await file.arrayBuffer());
    } catch (error) {
      this.findings.push({ kind: "unread", code: "web-file-unreadable", values: { path, why: error.name } });
      return null;
    }
  }

  async text(path) {
    const bytes = await this.small(path);
    try {
      return bytes && textOf(bytes);
    } catch {
      this.problem("web-list-unreadable", { path });
      return null;
    }
  }

  /** All of it, in order. Raises Stopped. */
  async run() {
    const list = await this.readList();
    await this.signedList();
    if (list) await this.compare(list);
    await this.records(list);
    await this.archiveLists();
    return this.report(list);
  }

  async readList() {
    const text = await this.text(LIST);
    const list = text && parseList(text);
    if (text !== null && !list) this.problem("web-list-unreadable", { path: LIST });
    if (text !== null) this.listDigest = digestOf(new TextEncoder().encode(text));
    return list || null;
  }

  /** Whether the disc's key signed the list. A disc that nobody signed has no signature at all. */
  async signedList() {
    const signs = [LIST + RAW, "data/delivery" + RAW, "data/delivery.sig"];
    this.unsigned = !signs.some((path) => this.files.has(path));
    const pem = await this.text(KEY);
    this.key = pem ? readKey(pem) : null;
    if (pem !== null && !this.key) this.problem("web-key-unreadable", { path: KEY });
    if (this.unsigned || !this.key) return;
    if (await this.fits(LIST, LIST + RAW, this.key)) this.good("web-list-signed", {});
  }

  /** Whether the key signed a file of the disc; if not, it is among the findings. */
  async fits(path, raw, key) {
    const message = await this.small(path);
    const signature = await this.small(raw);
    if (!message || !signature) return false;
    const good = await verifySignature(key, signature, message, this.used);
    if (!good) this.problem("web-signature-wrong", { path });
    return good;
  }

  /** Every file with the list. */
  async compare(list) {
    let wrong = 0;
    for (const path of list.keys()) {
      if (!this.files.has(path)) {
        wrong++;
        this.problem("web-file-missing", { path });
      }
    }
    const known = new Set([...list.keys(), ...UNLISTED]);
    for (const path of this.files.keys()) {
      if (!known.has(path)) {
        wrong++;
        this.problem("web-file-added", { path });
      }
    }
    let bytes = 0;
    for (const [path, digest] of list) {
      const file = this.files.get(path);
      const found = file && (await this.digest(path, file));
      bytes += file ? file.size : 0;
      if (file && found !== digest) wrong++;
      if (found && found !== digest) this.problem("web-file-changed", { path });
    }
    if (!wrong) this.good("web-files-agree", { count: list.size, bytes });
  }

  /** SHA-256 of a file, read piece by piece; null where it cannot be read. Raises Stopped. */
  async digest(path, file) {
    const sha = new Sha256();
    const read = (at) => file.slice(at, Math.min(at + PIECE_BYTES, file.size)).arrayBuffer();
    try {
      let coming = read(0);
      for (let at = 0; at < file.size; at += PIECE_BYTES) {
        if (this.stopped()) throw new Stopped();
        const piece = new Uint8Array(await coming);
        coming = read(at + PIECE_BYTES); // while this one is digested
        coming.catch(() => {}); // it is asked again, or nobody asks any more
        sha.update(piece);
        this.done += piece.length;
        this.progress(this.done, this.total, path);
      }
    } catch (error) {
      if (error instanceof Stopped) throw error;
      this.findings.push({ kind: "unread", code: "web-file-unreadable", values: { path, why: error.name } });
      return null;
    }
    const found = toHex(sha.digest());
    this.digests.set(path, found);
    return found;
  }

  /** The signatures of the records, by any of the keys that the signed list names. */
  async records(list) {
    const keys = [];
    for (const path of list ? list.keys() : []) {
      if (/^device(-\d+)?\.pub$/.test(path) && this.files.has(path)) {
        const pem = await this.text(path);
        const key = pem && readKey(pem);
        if (key) keys.push(key);
        else if (pem && path !== KEY) this.problem("web-key-unreadable", { path });
      }
    }
    const signed = [...this.files.keys()].filter((path) => path.endsWith(RAW) && path !== LIST + RAW);
    for (const raw of signed.sort()) {
      const path = raw === "data/journal" + RAW ? JOURNAL_HEAD : raw.slice(0, -RAW.length) + ".json";
      await this.record(path, raw, keys);
    }
    const stored = this.unsigned ? null : await this.text("data/delivery.sig");
    const plain = this.unsigned ? null : await this.small("data/delivery" + RAW);
    if (stored !== null && plain && !this.same(stored, plain)) this.problem("web-signature-wrong", { path: "data/delivery.sig" });
  }

  same(stored, plain) {
    try {
      const told = JSON.parse(stored);
      return told.signature === toHex(plain) && (!this.key || told.public_key === toHex(this.key));
    } catch {
      return false;
    }
  }

  async record(path, raw, keys) {
    const message = await this.small(path);
    const signature = await this.small(raw);
    if (!message || !signature) return;
    const candidates = path === "data/delivery.json" && this.key ? [this.key] : keys;
    for (const key of candidates) {
      if (await verifySignature(key, signature, message, this.used)) {
        this.good("web-record-signed", { path, key: fingerprintOf(key) });
        if (path === "data/manifest.json" && this.key && toHex(key) !== toHex(this.key)) {
          this.note("web-sealed-by-other-key", { key: fingerprintOf(key) });
        }
        return;
      }
    }
    this.problem("web-signature-wrong", { path });
  }

  /** The lists for archives' programs: nobody signs them, and what they say must be so all the same. */
  async archiveLists() {
    for (const path of UNLISTED) {
      const file = this.files.get(path);
      if (file) await this.digest(path, file);
    }
    for (const path of ARCHIVE_LISTS) {
      const text = await this.text(path);
      if (text === null) continue;
      const listed = parseList(text);
      const agrees = listed && [...listed].every(([name, digest]) => !this.digests.has(name) || this.digests.get(name) === digest);
      if (!agrees) this.problem("web-archive-list-differs", { path });
    }
  }

  /** What was found, for the page: findings, facts out of the records, and the code of the answer. */
  async report(list) {
    const delivery = await this.object("data/delivery.json");
    const manifest = await this.object("data/manifest.json");
    if (delivery.draft === true) this.note("web-draft", {});
    if (Array.isArray(delivery.damaged) && delivery.damaged.length) this.note("web-not-whole", { count: delivery.damaged.length });
    const of = (object) => (object && typeof object === "object" ? object : {});
    return {
      findings: this.findings,
      key: this.key,
      unsigned: this.unsigned,
      signaturesBy: this.used.by,
      count: list ? list.size : 0,
      listDigest: this.listDigest || "",
      facts: [
        ["web-label", delivery.label],
        ["session", manifest.session],
        ["case-number", of(manifest.case).number],
        ["room", of(manifest.room).name],
        ["official-start", manifest.official_start],
        ["official-end", manifest.official_end],
      ].filter(([, value]) => typeof value === "string" && value),
    };
  }

  async object(path) {
    const text = this.files.has(path) ? await this.text(path) : null;
    try {
      const value = text === null ? {} : JSON.parse(text);
      if (value && typeof value === "object" && !Array.isArray(value)) return value;
    } catch {
      // told below
    }
    this.problem("web-list-unreadable", { path });
    return {};
  }
}

/**
 * The answer in one sentence: a code with values, and whether this is what the room signed ("yes", "no"; "unknown" also where
 * nobody compared the fingerprint). typed: a fingerprint.
 */
function answerOf(report, typed) {
  const count = (kind) => report.findings.filter((finding) => finding.kind === kind).length;
  const compared = report.key ? compareFingerprint(typed, report.key) : "none";
  if (compared === "other" && !report.unsigned) return { says: "no", code: "web-answer-other-key", values: {} };
  if (count("problem")) return { says: "no", code: "web-answer-disagrees", values: { count: count("problem") } };
  if (count("unread")) return { says: "unknown", code: "web-answer-unread", values: { count: count("unread") } };
  if (report.unsigned) return { says: "unknown", code: "web-answer-unsigned", values: {} };
  if (compared === "equal") return { says: "yes", code: "web-answer-trusted", values: {} };
  return { says: "unknown", code: "web-answer-signed", values: { key: fingerprintOf(report.key) } };
}

export { DiscCheck, MOST_FILES, NoList, Stopped, answerOf, compareFingerprint, discOf, fingerprintOf, parseList, readKey, verifySignature };
