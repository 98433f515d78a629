// How a client talks with the test that started it, for the Node programs. One line `ready {…}` on stdout when
// everything was sent; then the test closes stdin (or writes a line); then one line `closed <code>`, exit code 0.

import { byteLengths } from './messages.mjs';

const TIME_LIMIT_MS = 60_000;

/** Runs `main` and turns every failure, the time limit included, into a message on stderr and exit code 1. */
export async function run(main, cleanUp = () => {}) {
  const limit = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`not done after ${TIME_LIMIT_MS} ms`)), TIME_LIMIT_MS).unref();
  });
  let code = 1;
  try {
    await Promise.race([main(), limit]);
    code = 0;
  } catch (error) {
    console.error(error.stack ?? error);
  }
  await cleanUp();
  process.exit(code);
}

export function printReady(userAgent) {
  process.stdout.write(`ready ${JSON.stringify({ userAgent, sent: byteLengths })}\n`);
}

export function printClosed(code) {
  process.stdout.write(`closed ${code}\n`);
}

/** Resolves when the test lets go: a line on stdin, or its end (so that no client outlives a test that died). */
export function letGo() {
  return new Promise((resolve) => {
    process.stdin.on('data', resolve).on('end', resolve).on('error', resolve);
  });
}
