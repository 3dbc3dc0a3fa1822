// Objects for the engine's own heap; buffers, zlib, crypto and worker threads for malloc.
'use strict';
const crypto = require('crypto');
const zlib = require('zlib');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

function work(seed) {
  let state = seed;
  const next = () => { state = (Math.imul(state, 1103515245) + 12345) >>> 0; return state >>> 8; };
  const digest = crypto.createHash('sha256');
  const count = new Map();
  const words = [];
  for (let index = 0; index < 40000; index++) {
    const word = `w${next() % 9000}-${'z'.repeat(next() % 40)}`;
    words.push(word);
    count.set(word, (count.get(word) || 0) + 1);
  }
  const order = [...count].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  digest.update(JSON.stringify(order.slice(0, 500)));
  digest.update(JSON.stringify(JSON.parse(JSON.stringify(words.map((word, at) => ({ word, at }))))));
  digest.update(words.join(' ').replace(/w(\d)(\d*)-z+/g, '<$2:$1>'));
  const buffers = [];
  for (let index = 0; index < 3000; index++) {
    const buffer = Buffer.alloc(1 + next() % 20000, index % 256);
    buffer.writeUInt8(index % 251, next() % buffer.length);
    if (index % 3 === 0) buffers.push(buffer);
    if (index % 500 === 0) buffers.splice(0, buffers.length / 2);
    digest.update(buffer);
  }
  const packed = zlib.deflateSync(Buffer.concat(buffers), { level: 6 });
  digest.update(zlib.inflateSync(packed));
  return digest.digest('hex');
}

if (isMainThread) {
  const rounds = Number(process.argv[2]);
  for (let seed = 1; seed <= rounds; seed++) console.log(seed, work(seed));
  const workers = [1, 2, 3, 4].map((number) => new Promise((resolve, reject) => {
    const worker = new Worker(__filename, { workerData: 100 + number });
    worker.once('message', resolve);
    worker.once('error', reject);
  }));
  const packs = [1, 2, 3, 4, 5, 6].map((number) => new Promise((resolve, reject) => {
    zlib.brotliCompress(Buffer.alloc(300000, `pack ${number} `),
      { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } },
      (error, result) => (error ? reject(error) : resolve(crypto.createHash('md5').update(result).digest('hex'))));
  }));
  Promise.all([...workers, ...packs]).then((lines) => lines.forEach((line) => console.log(line)));
} else {
  parentPort.postMessage(work(workerData));
}
