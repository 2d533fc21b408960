// An origin on Node's own HTTP servers: bodies of unknown length both ways, trailers, 103, and a keep-alive time that it tells.
// node-origin.mjs ADDR: HTTP/1.1. ADDR h2c: HTTP/2 over TCP. ADDR CERT KEY: HTTP/2 over TLS.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createSecureServer, createServer as createH2cServer } from 'node:http2';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

const files = process.env.FILES;
const [host, port] = process.argv[2].split(':');
const [cert, key] = process.argv.slice(3);
let posts = 0;

function text(response, status, body) {
  response.writeHead(status, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

function file(request, response, path) {
  if (!existsSync(path)) return text(response, 404, 'no such file\n');
  // No length is given; there is a trailer where the request allows for that.
  const chunked = request.method === 'GET' && request.httpVersion !== '1.0';
  response.writeHead(200, chunked ? { trailer: 'x-end' } : {});
  if (request.method === 'HEAD') return response.end();
  const source = createReadStream(path);
  if (chunked) source.on('end', () => response.addTrailers({ 'x-end': 'reached' }));
  pipeline(source, response, () => {});
}

function digest(request, response) {
  posts += 1;
  const seen = createHash('sha256');
  let length = 0;
  request.on('data', (block) => { seen.update(block); length += block.length; });
  request.on('end', () => text(response, 200, `${seen.digest('hex')} ${length}`));
}

async function drip(response) {
  response.writeHead(200);
  for (let number = 0; number < 5; number += 1) {
    response.write(`drop ${number}\n`);
    await sleep(200);
  }
  response.end();
}

function answer(request, response) {
  const { method, url } = request;
  if (url.startsWith('/files/') && (method === 'GET' || method === 'HEAD')) {
    file(request, response, join(files, url.slice('/files/'.length)));
  } else if (url === '/digest' && (method === 'POST' || method === 'PUT')) {
    digest(request, response);
  } else if (url === '/echo' && (method === 'POST' || method === 'PUT')) {
    response.writeHead(200);
    pipeline(request, response, () => {});
  } else if (url === '/drip') {
    drip(response);
  } else if (url === '/hints') {
    response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
    text(response, 200, 'hinted\n');
  } else if (url === '/posts') {
    text(response, 200, String(posts));
  } else {
    text(response, 404, 'no such thing\n');
  }
}

function serve() {
  if (cert === 'h2c') return createH2cServer(answer);
  if (key) return createSecureServer({ cert: readFileSync(cert), key: readFileSync(key) }, answer);
  const server = createServer(answer);
  server.keepAliveTimeout = 1000;
  return server;
}

serve().listen(Number(port), host);
