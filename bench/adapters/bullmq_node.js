// BullMQ on Node: worker and submitter, by the line protocol of bench/harness/child.py.
'use strict';
const fs = require('fs');
const os = require('os');
const path = require('path');
const { createRequire } = require('module');

const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
const home = path.join(cache, 'peakshaver', 'bench', 'node', 'package.json');
const { Queue, Worker, QueueEvents } = createRequire(home)('bullmq');
const connection = { host: '127.0.0.1', port: +process.env.BENCH_PORT, maxRetriesPerRequest: null };
const seconds = () => Number(process.hrtime.bigint()) / 1e9; // the monotonic clock of the machine

function work() {
  const file = fs.openSync(process.env.BENCH_TICK, 'r+');
  const row = Buffer.alloc(24);
  let count = 0;
  let first = 0;
  const echo = async (job) => {
    const now = seconds();
    first = first || now;
    row.writeBigUInt64LE(BigInt(++count), 0);
    row.writeDoubleLE(first, 8);
    row.writeDoubleLE(now, 16);
    fs.writeSync(file, row, 0, 24, 0);
    return job.data.p;
  };
  new Worker('bench', echo, { connection, concurrency: +(process.env.BENCH_CONCURRENCY || 128) });
}

function payload(number) {
  const head = String(number).padStart(12, '0') + ':';
  return head + 'x'.repeat(200 - head.length);
}

function submit() {
  const queue = new Queue('bench', { connection });
  const events = new QueueEvents('bench', { connection });
  events.setMaxListeners(0);
  const at = (sorted, share) =>
    sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] : null;
  const operations = {
    async open() {
      await queue.waitUntilReady();
      await events.waitUntilReady();
      return {};
    },
    async enqueue({ count }) {
      const opts = { removeOnComplete: true };
      for (let start = 0; start < count; start += 500) {
        const length = Math.min(500, count - start);
        await queue.addBulk(
          Array.from({ length }, (_, index) => ({ name: 'echo', data: { p: payload(start + index) }, opts })),
        );
      }
      return {};
    },
    async trip({ concurrency, most, seconds: long }) {
      const began = seconds();
      const took = [];
      const report = { errors: 0, hung: 0, first_error: '' };
      let number = 0;
      let last = began;
      const one = async () => {
        while (number < most && seconds() - began < long) {
          const sent = payload(++number);
          const start = seconds();
          try {
            const job = await queue.add('echo', { p: sent }, { removeOnComplete: { count: 5000 } });
            if ((await job.waitUntilFinished(events, 30000)) !== sent) throw new Error('wrong echo');
            last = seconds();
            took.push(last - start);
          } catch (error) {
            report.errors++;
            report.first_error = report.first_error || String(error);
          }
        }
      };
      await Promise.all(Array.from({ length: concurrency }, one));
      took.sort((a, b) => a - b);
      return {
        ...report,
        done: took.length,
        rate: took.length / Math.max(last - began, 1e-9),
        p50: at(took, 0.5),
        p90: at(took, 0.9),
        p99: at(took, 0.99),
        max: at(took, 1),
      };
    },
  };
  const answer = (figures) => fs.writeSync(1, JSON.stringify(figures) + '\n');
  let turn = Promise.resolve();
  require('readline')
    .createInterface({ input: process.stdin })
    .on('line', (line) => {
      const command = JSON.parse(line);
      turn = turn
        .then(async () => {
          if (command.op === 'close') {
            answer({});
            process.exit(0);
          }
          const began = seconds();
          const figures = await operations[command.op](command);
          answer({ ...figures, seconds: seconds() - began });
        })
        .catch((error) => {
          console.error(error);
          process.exit(1);
        });
    });
}

if (process.argv[2] === 'worker') work();
else submit();
