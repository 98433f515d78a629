// Tabs in headless Chromium, opened, reloaded and closed as a user does: node chromium-tabs.mjs [--plain] ws://…
// Each line on stdin is a command, and is answered by a line of JSON on stdout once it has happened:
//   open      opens a tab, the first is 1: {tab, pageId, sessionId, resumed}, once its page is connected
//   reload N  reloads it: the same
//   send N    lets its page send "hello": {tab}
//   close N   closes it: {tab}, once it is gone
//   quit      ends this program and the browser, as the end of stdin does
// With --plain, the pages ask for no subprotocol: they get no welcome, and hold no resume token.

import { EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';
import { servePages, startChromium, stopChromium } from './chromium.mjs';
import { run } from './driver.mjs';

const url = process.argv.at(-1);
const subprotocols = process.argv.includes('--plain') ? [] : ['headcount.v1'];

const pages = new EventEmitter(); // tells `connected`, with what the page says of itself
const tabs = []; // {targetId, sessionId} of DevTools, in the order opened
let pageUrl;
let browser;

const commands = {
  async open() {
    const page = nextPage();
    const { targetId } = await browser.call('Target.createTarget', { url: pageUrl });
    const { sessionId } = await browser.call('Target.attachToTarget', { targetId, flatten: true });
    return { tab: tabs.push({ targetId, sessionId }), ...await page };
  },

  async reload(tab) {
    const page = nextPage();
    await browser.call('Page.reload', {}, tabs[tab - 1].sessionId);
    return { tab, ...await page };
  },

  async send(tab) {
    await browser.call('Runtime.evaluate', { expression: 'ws.send("hello")' }, tabs[tab - 1].sessionId);
    return { tab };
  },

  async close(tab) {
    const { targetId } = tabs[tab - 1];
    const gone = browser.event('Target.targetDestroyed', (target) => target.targetId === targetId);
    await browser.call('Target.closeTarget', { targetId });
    await gone;
    return { tab };
  },
};

run(async () => {
  let fail;
  const failed = new Promise((_, reject) => { fail = (reason) => reject(new Error(reason)); });
  failed.catch(() => {}); // expected at the end, when the browser is killed
  pageUrl = await servePages({ '/': ['tabs.html', 'text/html'] }, {
    '/target': () => JSON.stringify({ url, subprotocols }),
    '/connected': (page) => { pages.emit('connected', page); },
    '/failed': fail,
  });
  // In a tab that is none of ours, because Chromium quits when its last tab is closed.
  browser = startChromium('about:blank', fail);
  await Promise.race([obey(), once(process.stdin, 'end'), failed]);
}, stopChromium);

async function obey() {
  await browser.call('Target.setDiscoverTargets', { discover: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, tab] = line.split(' ');
    if (name === 'quit') return;
    process.stdout.write(`${JSON.stringify(await commands[name](Number(tab)))}\n`);
  }
}

/** There is one page at a time that connects, because there is one command at a time. */
async function nextPage() {
  const [page] = await once(pages, 'connected');
  return page;
}
