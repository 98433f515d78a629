// What a tracker written in an afternoon keeps of its sessions, for ws.cjs and socketio.cjs alike.
'use strict';
const http = require('node:http');
const { randomUUID } = require('node:crypto');
const { createRequire } = require('node:module');
const { join } = require('node:path');

const sessions = new Map();

/** A session begins: answers what has to be told of its messages and its end. */
function join_(username, pageId, request) {
  const session = {
    userAgent: request.headers['user-agent'] ?? '',
    id: randomUUID(),
    username,
    project: 'plant',
    since: Date.now(),
    clientAddress: request.socket.remoteAddress,
    lastComm: Date.now(),
    recent: 0,
    total: 0,
    pageIds: [pageId],
  };
  sessions.set(session.id, session);
  return {
    heard() {
      session.lastComm = Date.now();
    },
    messageCame(bytes) {
      session.lastComm = Date.now();
      session.recent = bytes;
      session.total += bytes;
    },
    leave() {
      sessions.delete(session.id);
    },
  };
}

function row(session, now) {
  return {
    userAgent: session.userAgent,
    id: session.id,
    username: session.username,
    project: session.project,
    uptime: now - session.since,
    clientAddress: session.clientAddress,
    lastComm: now - session.lastComm,
    sessionScope: 'browser',
    activePages: session.pageIds.length,
    recentBytesSent: session.recent,
    totalBytesSent: session.total,
    pageIds: session.pageIds,
    authorized: false,
  };
}

/** The sessions as JSON, all or those of one user. */
const admin = http.createServer((request, response) => {
  const username = new URL(request.url, 'http://localhost').searchParams.get('username');
  const now = Date.now();
  const rows = [];
  for (const session of sessions.values()) {
    if (username === null || session.username === username) rows.push(row(session, now));
  }
  const body = JSON.stringify(rows);
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
});

/** Says where the clients connect, and where the sessions are listed. */
function listen(clients) {
  clients.listen(0, '127.0.0.1', () => {
    console.log(`127.0.0.1:${clients.address().port}`);
    admin.listen(0, '127.0.0.1', () => console.log(`127.0.0.1:${admin.address().port}`));
  });
}

/** A package out of the bench's own folder: none is beside this file. */
const tool = createRequire(join(process.env.BENCH_TOOLS, 'node_modules', '/'));

module.exports = { join: join_, listen, tool };
