// Runs the script of verify.html without a browser. Arguments: the script as a module; "vectors" or a disc's folder; a fingerprint.
// Prints one line of JSON.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , script, what, typed = ""] = process.argv;
const page = await import(pathToFileURL(script));
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));

function filesOf(folder, below = "") {
  return readdirSync(join(folder, below), { withFileTypes: true }).flatMap((each) => {
    const path = below ? `${below}/${each.name}` : each.name;
    return each.isDirectory() ? filesOf(folder, path) : [path];
  });
}

if (what === "vectors") {
  const asked = JSON.parse(readFileSync(0, "utf8"));
  const answer = { sha256: [], sha512: [], signatures: [] };
  for (const [pieces, whole] of asked.digests) {
    const sha = new page.Sha256();
    for (const piece of pieces) sha.update(bytes(piece));
    answer.sha256.push(hex(sha.digest()));
    answer.sha512.push(hex(page.sha512(bytes(whole))));
  }
  for (const [key, message, signature] of asked.signatures) {
    const found = [];
    for (const by of ["", "page"]) {
      const used = { by };
      found.push(await page.verifySignature(bytes(key), bytes(signature), bytes(message), used), used.by);
    }
    answer.signatures.push(found);
  }
  answer.compared = asked.compared.map(([text, key]) => page.compareFingerprint(text, bytes(key)));
  answer.keys = asked.keys.map((text) => {
    const key = page.readKey(text);
    return key && hex(key);
  });
  answer.lists = asked.lists.map((text) => {
    const list = page.parseList(text);
    return list && [...list.keys()];
  });
  answer.texts = asked.texts.map(([template, values]) => page.filledIn(template, values));
  answer.instants = asked.instants.map((text) => [page.instantText(text, "zh"), page.instantText(text, "en")]);
  console.log(JSON.stringify(answer));
} else {
  const files = new Map(filesOf(what).map((path) => [`disc/${path}`, new Blob([readFileSync(join(what, path))])]));
  let read = [];
  try {
    const check = new page.DiscCheck(files, (done, total) => (read = [done, total]));
    const report = await check.run();
    console.log(JSON.stringify({ answer: page.answerOf(report, typed), findings: report.findings, facts: report.facts, read }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.constructor.name }));
  }
}
