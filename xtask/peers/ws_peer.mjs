// WebSocket by `ws`, found below MODULES: `serve ADDR` echoes; `ask URL [CA]` asks such an echo, and says what it saw.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { WebSocket, WebSocketServer } = createRequire(join(process.env.MODULES, 'x'))('ws');
const BOUND = 20_000;
const MAX = 64 << 20;

function serve(addr) {
  const [host, port] = addr.split(':');
  const server = new WebSocketServer({ host, port: Number(port), maxPayload: MAX, handleProtocols: () => 'echo' });
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('message', (data, isBinary) => {
      if (String(data) === 'close me') return socket.close(4001, 'as you wish');
      socket.send(data, { binary: isBinary });
    });
  });
}

async function next(socket) {
  const [data] = await once(socket, 'message');
  return data;
}

async function open(url, ca) {
  const socket = new WebSocket(url, 'echo', { ca: ca && readFileSync(ca), maxPayload: MAX, perMessageDeflate: false });
  await once(socket, 'open');
  if (socket.protocol !== 'echo') throw new Error(`subprotocol ${socket.protocol}`);
  return socket;
}

async function ask(url, ca) {
  const socket = await open(url, ca);
  for (let number = 0; number < 200; number += 1) {
    socket.send(`text ${number}`);
    const back = String(await next(socket));
    if (back !== `text ${number}`) throw new Error(back);
  }
  const big = Buffer.alloc(8 << 20, Uint8Array.from({ length: 251 }, (_, index) => index));
  socket.send(big);
  const digest = (data) => createHash('sha256').update(data).digest('hex');
  if (digest(await next(socket)) !== digest(big)) throw new Error('8 MiB came back as something else');
  socket.ping('p');
  const [pong] = await once(socket, 'pong');
  if (String(pong) !== 'p') throw new Error(`pong ${pong}`);
  socket.send('close me');
  const [code, reason] = await once(socket, 'close');
  if (code !== 4001 || String(reason) !== 'as you wish') throw new Error(`closed with ${code} ${reason}`);
  const other = await open(url, ca);
  other.close(1000);
  const [own] = await once(other, 'close');
  if (own !== 1000) throw new Error(`closed with ${own}`);
  console.log('200 texts, 8 MiB, a ping, closed by either side');
}

const [what, ...rest] = process.argv.slice(2);
setTimeout(() => { console.error('not done in 20 s'); process.exit(1); }, BOUND).unref();
if (what === 'serve') serve(...rest);
else await ask(...rest);
