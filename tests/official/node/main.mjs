// The official Node client against a network: everything that a client does, in the order of the printed object's keys.
//
// Reads ENDPOINT, TLS_ROOT, MSP_ID, CERTIFICATE, PRIVATE_KEY, CHANNEL and CHAINCODE from the environment (files for the
// three in the middle) and prints one JSON object.
import * as grpc from '@grpc/grpc-js';
import { checkpointers, connect, hash, signers } from '@hyperledger/fabric-gateway';
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

const { ENDPOINT, TLS_ROOT, MSP_ID, CERTIFICATE, PRIVATE_KEY, CHANNEL, CHAINCODE } = process.env;
const text = (bytes) => Buffer.from(bytes).toString('utf8');

const client = new grpc.Client(ENDPOINT, grpc.credentials.createSsl(readFileSync(TLS_ROOT)));
const identity = { mspId: MSP_ID, credentials: readFileSync(CERTIFICATE) };
const sign = signers.newPrivateKeySigner(createPrivateKey(readFileSync(PRIVATE_KEY)));
const gateway = connect({ client, hash: hash.sha256, identity, signer: sign });
const unsigned = connect({ client, hash: hash.sha256, identity });

const failure = (attempt) => attempt.then(
  () => ({ kind: 'none' }),
  (error) => ({
    kind: error.name,
    code: error.code === undefined ? '' : (grpc.status[error.code] ?? String(error.code)),
    message: error.message,
    details: Array.isArray(error.details) ? error.details.map((one) => `${one.mspId}: ${one.message}`) : [],
  }),
);

async function first(events, wanted = () => true) {
  try {
    for await (const event of events) {
      if (wanted(event)) {
        return event;
      }
    }
  } finally {
    events.close();
  }
}

// Every message is signed apart from where it is made, as by a wallet that is offline.
async function offline(contract) {
  const proposal = contract.newProposal('put', { arguments: ['offline', 'signed elsewhere'] });
  const signed = unsigned.newSignedProposal(proposal.getBytes(), await sign(proposal.getDigest()));
  const transaction = await signed.endorse();
  const badly = unsigned.newSignedTransaction(transaction.getBytes(), await sign(proposal.getDigest()));
  const refused = await failure(badly.submit());
  const ready = unsigned.newSignedTransaction(transaction.getBytes(), await sign(transaction.getDigest()));
  const commit = await ready.submit();
  const unknown = unsigned.newSignedCommit(commit.getBytes(), await sign(proposal.getDigest()));
  const forbidden = await failure(unknown.getStatus());
  const status = await unsigned.newSignedCommit(commit.getBytes(), await sign(commit.getDigest())).getStatus();
  const query = contract.newProposal('get', { arguments: ['offline'] });
  const asked = unsigned.newSignedProposal(query.getBytes(), await sign(query.getDigest()));
  return { status, refused, forbidden, read: text(await asked.evaluate()) };
}

async function conflict(contract) {
  await contract.submitTransaction('put', 'node-sum', '0');
  const endorsed = [];
  for (let i = 0; i < 2; i++) {
    endorsed.push(await contract.newProposal('add', { arguments: ['node-sum', '1'] }).endorse());
  }
  const commits = [];
  for (const transaction of endorsed) {
    commits.push(await transaction.submit());
  }
  return Promise.all(commits.map(async (commit) => (await commit.getStatus()).code));
}

try {
  const network = gateway.getNetwork(CHANNEL);
  const contract = network.getContract(CHAINCODE);
  const live = await network.getChaincodeEvents(CHAINCODE);

  const put = await contract.submitAsync('put', { arguments: ['from-node', 'one'] });
  const state = await put.getStatus();
  const notified = await contract.submitAsync('event', { arguments: ['greeting', 'hello from Node'] });
  const event = await first(live);

  const block = await first(await network.getBlockEvents({ startBlock: state.blockNumber }));
  const filtered = await first(await network.getFilteredBlockEvents({ startBlock: state.blockNumber }));
  const whole = await first(await network.getBlockAndPrivateDataEvents({ startBlock: state.blockNumber }));
  const checkpointer = checkpointers.inMemory();
  await checkpointer.checkpointTransaction(event.blockNumber - 1n, '');
  const again = await first(await network.getChaincodeEvents(CHAINCODE, { checkpoint: checkpointer, startBlock: 0n }),
    (one) => one.transactionId === event.transactionId);
  const signedElsewhere = await offline(contract);

  console.log(JSON.stringify({
    submitted: text(put.getResult()),
    evaluated: text(await contract.evaluateTransaction('get', 'from-node')),
    event: event.eventName,
    payload: text(event.payload),
    tx_matches: event.transactionId === notified.getTransactionId(),
    valid: state.successful,
    block: Number(block.getHeader().getNumber()) === Number(state.blockNumber),
    filtered: filtered.getFilteredTransactionsList().some((one) => one.getTxid() === put.getTransactionId()),
    private: Number(whole.getBlock().getHeader().getNumber()) === Number(state.blockNumber),
    resumed: again.eventName,
    offline: signedElsewhere.read,
    offline_valid: signedElsewhere.status.successful,
    conflict: await conflict(contract),
    failures: {
      endorse: await failure(contract.submitTransaction('fail', 'no such model')),
      evaluate: await failure(contract.evaluateTransaction('get', 'never')),
      submit: signedElsewhere.refused,
      status: signedElsewhere.forbidden,
      unknown: await failure(network.getContract('nosuch').evaluateTransaction('get', 'a')),
    },
  }));
} finally {
  gateway.close();
  unsigned.close();
  client.close();
}
