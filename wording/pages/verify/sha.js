// SHA-256 that takes a file piece by piece, which WebCrypto cannot, and SHA-512 for browsers without WebCrypto.
// Source: FIPS 180-4.

/** The first `count` primes. */
function firstPrimes(count) {
  const found = [];
  for (let n = 2; found.length < count; n++) {
    if (found.every((prime) => n % prime)) found.push(n);
  }
  return found;
}

/** Floor of 2^64 times the fraction of the square root (degree 2) or the cube root (degree 3) of n. */
function rootFraction(n, degree) {
  const scaled = BigInt(n) << BigInt(64 * degree);
  let low = 0n;
  let high = 1n << 70n;
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** BigInt(degree) <= scaled) low = middle;
    else high = middle;
  }
  return low & 0xffffffffffffffffn;
}

const ROUNDS_512 = firstPrimes(80).map((prime) => rootFraction(prime, 3));
const START_512 = firstPrimes(8).map((prime) => rootFraction(prime, 2));
const ROUNDS_256 = Int32Array.from(ROUNDS_512.slice(0, 64), (value) => Number(value >> 32n) | 0);
const START_256 = Int32Array.from(START_512, (value) => Number(value >> 32n) | 0);

/** The SHA-256 of what `update` was given, one piece after another. */
class Sha256 {
  constructor() {
    this.state = START_256.slice();
    this.words = new Int32Array(64);
    this.rest = new Uint8Array(64);
    this.kept = 0; // bytes in rest
    this.length = 0;
  }

  /** The next bytes, a Uint8Array. */
  update(bytes) {
    this.length += bytes.length;
    let at = 0;
    if (this.kept) {
      at = Math.min(64 - this.kept, bytes.length);
      this.rest.set(bytes.subarray(0, at), this.kept);
      this.kept += at;
      if (this.kept < 64) return this;
      this.block(this.rest, 0);
      this.kept = 0;
    }
    for (; at + 64 <= bytes.length; at += 64) this.block(bytes, at);
    this.rest.set(bytes.subarray(at));
    this.kept = bytes.length - at;
    return this;
  }

  /** The 32 bytes of the digest; nothing may follow. */
  digest() {
    const length = this.length;
    const padding = new Uint8Array((this.kept < 56 ? 64 : 128) - this.kept);
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(length / 0x20000000));
    view.setUint32(padding.length - 4, (length * 8) >>> 0);
    this.update(padding);
    const out = new DataView(new ArrayBuffer(32));
    this.state.forEach((word, n) => out.setInt32(4 * n, word));
    return new Uint8Array(out.buffer);
  }

  block(bytes, at) {
    const w = this.words;
    for (let n = 0; n < 16; n++, at += 4) {
      w[n] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    }
    for (let n = 16; n < 64; n++) {
      const x = w[n - 15];
      const y = w[n - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[n] = (w[n - 16] + s0 + w[n - 7] + s1) | 0;
    }
    const state = this.state;
    let a = state[0];
    let b = state[1];
    let c = state[2];
    let d = state[3];
    let e = state[4];
    let f = state[5];
    let g = state[6];
    let h = state[7];
    for (let n = 0; n < 64; n++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const one = (h + s1 + ((e & f) ^ (~e & g)) + ROUNDS_256[n] + w[n]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + one) | 0;
      d = c;
      c = b;
      b = a;
      a = (one + two) | 0;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
  }
}

/** The 64 bytes of a text's SHA-512; slow, for small texts. */
function sha512(message) {
  const mask = 0xffffffffffffffffn;
  const turned = (x, n) => ((x >> n) | (x << (64n - n))) & mask;
  const whole = new Uint8Array(Math.ceil((message.length + 17) / 128) * 128);
  whole.set(message);
  whole[message.length] = 0x80;
  const view = new DataView(whole.buffer);
  view.setBigUint64(whole.length - 8, BigInt(message.length) * 8n);
  const state = START_512.slice();
  const w = new Array(80);
  for (let at = 0; at < whole.length; at += 128) {
    for (let n = 0; n < 16; n++) w[n] = view.getBigUint64(at + 8 * n);
    for (let n = 16; n < 80; n++) {
      const s0 = turned(w[n - 15], 1n) ^ turned(w[n - 15], 8n) ^ (w[n - 15] >> 7n);
      const s1 = turned(w[n - 2], 19n) ^ turned(w[n - 2], 61n) ^ (w[n - 2] >> 6n);
      w[n] = (w[n - 16] + s0 + w[n - 7] + s1) & mask;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let n = 0; n < 80; n++) {
      const one = h + (turned(e, 14n) ^ turned(e, 18n) ^ turned(e, 41n)) + ((e & f) ^ (~e & mask & g)) + ROUNDS_512[n] + w[n];
      const two = (turned(a, 28n) ^ turned(a, 34n) ^ turned(a, 39n)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) & mask, c, b, a, (one + two) & mask];
    }
    [a, b, c, d, e, f, g, h].forEach((value, n) => {
      state[n] = (state[n] + value) & mask;
    });
  }
  const out = new DataView(new ArrayBuffer(64));
  state.forEach((value, n) => out.setBigUint64(8 * n, value));
  return new Uint8Array(out.buffer);
}

export { Sha256, sha512 };
