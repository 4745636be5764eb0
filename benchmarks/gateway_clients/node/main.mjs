// The official Node client under the load that ../__init__.py describes.
import * as grpc from '@grpc/grpc-js';
import { connect, hash, signers } from '@hyperledger/fabric-gateway';
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const { ENDPOINT, TLS_ROOT, MSP_ID, CERTIFICATE, PRIVATE_KEY, CHANNEL, CHAINCODE, IN_FLIGHT, PREFIX } = process.env;
const value = 'v'.repeat(100);
const client = new grpc.Client(ENDPOINT, grpc.credentials.createSsl(readFileSync(TLS_ROOT)));
const gateway = connect({
  client,
  hash: hash.sha256,
  identity: { mspId: MSP_ID, credentials: readFileSync(CERTIFICATE) },
  signer: signers.newPrivateKeySigner(createPrivateKey(readFileSync(PRIVATE_KEY))),
});
const contract = gateway.getNetwork(CHANNEL).getContract(CHAINCODE);

async function forAWhile(call, seconds, inFlight) {
  const latencies = [];
  const prefix = `${PREFIX}/${process.hrtime.bigint()}`;
  let number = 0;
  const end = performance.now() + seconds * 1000;
  const worker = async () => {
    for (let began = performance.now(); began < end; began = performance.now()) {
      await call(`${prefix}/${number++}`, value);
      latencies.push(performance.now() - began);
    }
  };
  const wall = performance.now();
  const cpu = process.cpuUsage();
  await Promise.all(Array.from({ length: inFlight }, worker));
  const used = process.cpuUsage(cpu);
  return { latencies, wall: (performance.now() - wall) / 1000, cpu: (used.user + used.system) / 1e6 };
}

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const submit = (...args) => contract.submitTransaction('update', ...args);
const evaluate = (...args) => contract.evaluateTransaction('update', ...args);

for await (const line of createInterface({ input: process.stdin })) {
  const [kind, seconds] = line.split(' ');
  const [call, inFlight] = kind === 'submit' ? [submit, Number(IN_FLIGHT)] : [evaluate, 1];
  const { latencies, wall, cpu } = await forAWhile(call, Number(seconds), inFlight);
  console.log(JSON.stringify({ calls: latencies.length, wall_s: wall, cpu_s: cpu, p50_ms: median(latencies) }));
}
gateway.close();
client.close();
