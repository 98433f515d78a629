// What every client in this directory sends, in this order. The Python and Java clients repeat the list; the Rust
// test knows the lengths. Imported by Node and, over http, by the page in Chromium: so nothing of Node's here.

export const messages = [
  'hello',
  'Zoë ☃ 🙂', // 8 characters by eye, 9 UTF-16 units, 13 bytes: only the bytes count
  new Uint8Array(1000),
  '',
  'x'.repeat(60_000),
  'last!',
];

export const byteLengths = messages.map((m) => (typeof m === 'string' ? new TextEncoder().encode(m) : m).length);
