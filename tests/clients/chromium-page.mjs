// A page in headless Chromium, as a test client: node chromium-page.mjs ws://…
// This program serves the page, so that its Origin is a real one on the same host as the WebSocket server, and passes
// on what the page reports. CHROMIUM names another browser than Debian's.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { letGo, printClosed, printReady, run } from './driver.mjs';

const FILES = { '/': ['page.html', 'text/html'], '/messages.mjs': ['messages.mjs', 'text/javascript'] };

let browser;
const profile = mkdtempSync(join(tmpdir(), 'headcount-chromium-'));

run(async () => {
  const released = letGo();
  const reports = newReports();
  const pageUrl = await servePage(process.argv[2], released, reports);
  startBrowser(pageUrl, reports.fail);

  const early = reports.closed.then((code) => { throw new Error(`closed too early: ${code}`); });
  early.catch(() => {}); // once the page was ready, a close is none of its business
  printReady(await Promise.race([reports.ready, early, reports.failed]));
  printClosed(await Promise.race([reports.closed, reports.failed]));
}, stopBrowser);

/** A promise for each thing that the page reports, and under `on` what fulfils it, by path. */
function newReports() {
  const reports = { on: {} };
  reports.ready = new Promise((resolve) => { reports.on['/ready'] = resolve; });
  reports.closed = new Promise((resolve) => { reports.on['/closed'] = resolve; });
  reports.failed = new Promise((_, reject) => { reports.fail = (reason) => reject(new Error(reason)); });
  reports.failed.catch(() => {}); // expected at the end, when the browser is killed
  reports.on['/failed'] = reports.fail;
  return reports;
}

async function servePage(webSocketUrl, released, reports) {
  const server = createServer(async (request, response) => {
    const report = request.method === 'POST' && reports.on[request.url];
    if (report) {
      report(JSON.parse((await request.toArray()).join('')));
    } else if (request.url === '/url') {
      response.write(webSocketUrl);
    } else if (request.url === '/let-go') {
      await released;
    } else if (FILES[request.url]) {
      const [name, type] = FILES[request.url];
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

function startBrowser(pageUrl, fail) {
  const flags = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', // whatever else it wants to ask, it asks nobody
    '--remote-debugging-pipe', // descriptors 3 and 4: when this program dies, however, they close and the browser quits
    `--user-data-dir=${profile}`,
  ];
  const stdio = ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'];
  browser = spawn(process.env.CHROMIUM ?? '/usr/bin/chromium', [...flags, pageUrl], { stdio });

  let log = '';
  browser.stderr.on('data', (text) => { log = (log + text).slice(-4000); });
  browser.on('error', (error) => fail(error.message));
  browser.on('exit', (code, signal) => fail(`the browser ended: ${code ?? signal}\n${log}`));
}

async function stopBrowser() {
  if (browser?.pid && browser.exitCode === null && browser.signalCode === null) {
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
