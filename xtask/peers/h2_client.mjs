// Node's own HTTP/2 client: `h2_client.mjs WHAT URL DIGESTS [CA]`, where DIGESTS is `small=SHA256,large=SHA256`. Says what it saw.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, constants } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';

const [what, url, digests, ca] = process.argv.slice(2);
const expected = Object.fromEntries(digests.split(',').map((pair) => pair.split('=')));
const BOUND = 20_000;

function expect(holds, text) {
  if (!holds) throw new Error(text);
}

async function digest(stream) {
  const seen = createHash('sha256');
  for await (const block of stream) seen.update(block);
  return seen.digest('hex');
}

async function get(session, name) {
  const stream = session.request({ ':path': `/files/${name}.bin` });
  const [head] = await once(stream, 'response');
  expect(head[':status'] === 200, `status ${head[':status']}`);
  const got = await digest(stream);
  expect(got === expected[name], `${name}: ${got}`);
}

const many = (session, count) => Promise.all(Array.from({ length: count }, () => get(session, 'small')));

const CHECKS = {
  async many(session) {
    await many(session, 300);
    await new Promise((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
    return '300 at once on one connection, and a PING';
  },

  async reset(session) {
    for (let round = 0; round < 20; round += 1) {
      const cut = session.request({ ':path': '/files/large.bin' });
      await once(cut, 'data');
      const others = many(session, 5);
      cut.close(constants.NGHTTP2_CANCEL);
      await others;
    }
    return '20 downloads cancelled, their neighbours whole';
  },

  async stall(session) {
    const slow = session.request({ ':path': '/files/large.bin' });
    await once(slow, 'response');
    // Not read: its window closes, and nobody else's.
    await many(session, 100);
    expect((await digest(slow)) === expected.large, 'the stalled one came back as something else');
    return '100 whole beside one that was not read';
  },

  async turns(session) {
    const stream = session.request({ ':method': 'POST', ':path': '/echo' });
    let got = '';
    stream.setEncoding('latin1').on('data', (block) => { got += block; });
    for (let number = 0; number < 100; number += 1) {
      stream.write(`turn ${number}\n`);
      while (!got.endsWith(`turn ${number}\n`)) await once(stream, 'data');
    }
    stream.end();
    await once(stream, 'end');
    return '100 turns on one stream';
  },

  async trailers(session) {
    const stream = session.request({ ':path': '/files/small.bin' });
    const [, [trailers]] = await Promise.all([digest(stream), once(stream, 'trailers')]);
    expect(trailers['x-end'] === 'reached', `trailers ${JSON.stringify(trailers)}`);
    return 'they arrive';
  },

  /// RFC 8441: a WebSocket on a stream. One text frame there and back, then a close frame.
  async websocket(session) {
    if (!session.remoteSettings.enableConnectProtocol) await once(session, 'remoteSettings');
    expect(session.remoteSettings.enableConnectProtocol, 'extended CONNECT is not offered');
    const stream = session.request({
      ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', 'sec-websocket-version': '13',
      'sec-websocket-protocol': 'echo',
    });
    const [head] = await once(stream, 'response');
    expect(head[':status'] === 200 && head['sec-websocket-protocol'] === 'echo', JSON.stringify(head));
    let got = Buffer.alloc(0);
    stream.on('data', (block) => { got = Buffer.concat([got, block]); });
    const frame = (opcode, payload) => {
      const mask = randomBytes(4);
      const masked = payload.map((byte, index) => byte ^ mask[index % 4]);
      return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, masked]);
    };
    stream.write(frame(1, Buffer.from('hello')));
    while (got.length < 7) await once(stream, 'data');
    expect(got.equals(Buffer.from('\x81\x05hello', 'latin1')), got.toString('hex'));
    stream.write(frame(8, Buffer.from([0x03, 0xe8])));
    while (got.length < 11) await once(stream, 'data');
    expect(got.subarray(7, 9).equals(Buffer.from([0x88, 0x02])), got.toString('hex'));
    stream.end();
    await once(stream, 'close');
    return 'a frame there and back, and a close';
  },
};

sleep(BOUND, null, { ref: false }).then(() => { console.error(`not done in ${BOUND} ms`); process.exit(1); });
const session = connect(url, ca ? { ca: readFileSync(ca) } : {});
await once(session, 'connect');
const seen = await CHECKS[what](session);
session.close();
await once(session, 'close');
console.log(seen);
