// Headless Chromium for the programs beside this one: the server that its pages come from, the browser, its end.
// CHROMIUM names another browser than Debian's.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { newDevTools } from './devtools.mjs';

let browser;
let profile;

/**
 * Serves pages over HTTP, so that their Origin is a real one on the same host as the WebSocket server; answers with
 * the URL. `files` maps a path to a file of this folder and its type. `answers` maps a path to a function from what
 * was posted there, if anything, to the text of the answer, if any.
 */
export async function servePages(files, answers) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://page');
    if (answers[pathname]) {
      const posted = (await request.toArray()).join('');
      response.write((await answers[pathname](posted && JSON.parse(posted))) ?? '');
    } else if (files[pathname]) {
      const [name, type] = files[pathname];
      response.setHeader('content-type', `${type}; charset=utf-8`);
      response.write(readFileSync(new URL(name, import.meta.url)));
    } else {
      response.statusCode = 404; // /favicon.ico
    }
    response.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${server.address().port}/`;
}

/** Starts the browser with one tab, and answers with its DevTools; `fail` is told if it ends. */
export function startChromium(url, fail) {
  profile = mkdtempSync(join(tmpdir(), 'headcount-chromium-'));
  const flags = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', // whatever else it wants to ask, it asks nobody
    '--remote-debugging-pipe', // descriptors 3 and 4: when this program dies, however, they close and the browser quits
    `--user-data-dir=${profile}`,
  ];
  const stdio = ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'];
  browser = spawn(process.env.CHROMIUM ?? '/usr/bin/chromium', [...flags, url], { stdio });

  let log = '';
  browser.stderr.on('data', (text) => { log = (log + text).slice(-4000); });
  browser.on('error', (error) => fail(error.message));
  browser.on('exit', (code, signal) => fail(`the browser ended: ${code ?? signal}\n${log}`));
  return newDevTools(browser.stdio[3], browser.stdio[4]);
}

export async function stopChromium() {
  if (!browser) return;
  if (browser.pid && browser.exitCode === null && browser.signalCode === null) {
    browser.kill();
    await once(browser, 'exit');
  }
  // Its helper processes outlive it by a moment and may still write, so one attempt is not enough.
  for (let attempt = 1; ; attempt += 1) {
    try {
      return rmSync(profile, { recursive: true, force: true });
    } catch (error) {
      if (attempt === 50) return console.error(`left behind: ${error.message}`);
      await sleep(100);
    }
  }
}
