// A page in headless Chromium, as a test client: node chromium-page.mjs ws://…
// This program serves the page and passes on what it reports.

import { servePages, startChromium, stopChromium } from './chromium.mjs';
import { letGo, printClosed, printReady, run } from './driver.mjs';

const FILES = { '/': ['page.html', 'text/html'], '/messages.mjs': ['messages.mjs', 'text/javascript'] };

run(async () => {
  const released = letGo();
  const reports = newReports();
  const pageUrl = await servePages(FILES, {
    '/url': () => process.argv[2],
    '/let-go': async () => { await released; },
    ...reports.on,
  });
  startChromium(pageUrl, reports.fail);

  const early = reports.closed.then((code) => { throw new Error(`closed too early: ${code}`); });
  early.catch(() => {}); // once the page was ready, a close is none of its business
  printReady(await Promise.race([reports.ready, early, reports.failed]));
  printClosed(await Promise.race([reports.closed, reports.failed]));
}, stopChromium);

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
