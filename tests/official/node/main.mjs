// The official Node client against a network: submit, evaluate, an event, a contract's error.
//
// Reads ENDPOINT, TLS_ROOT, MSP_ID, CERTIFICATE, PRIVATE_KEY, CHANNEL and CHAINCODE from the environment (files for the
// three in the middle) and prints one JSON object.
import * as grpc from '@grpc/grpc-js';
import { connect, hash, signers, EndorseError } from '@hyperledger/fabric-gateway';
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

const { ENDPOINT, TLS_ROOT, MSP_ID, CERTIFICATE, PRIVATE_KEY, CHANNEL, CHAINCODE } = process.env;
const text = (bytes) => Buffer.from(bytes).toString('utf8');

const client = new grpc.Client(ENDPOINT, grpc.credentials.createSsl(readFileSync(TLS_ROOT)));
const gateway = connect({
  client,
  hash: hash.sha256,
  identity: { mspId: MSP_ID, credentials: readFileSync(CERTIFICATE) },
  signer: signers.newPrivateKeySigner(createPrivateKey(readFileSync(PRIVATE_KEY))),
});

const describe = (error) => ({
  kind: error instanceof EndorseError ? 'EndorseError' : error.constructor.name,
  code: grpc.status[error.code],
  message: error.message,
  details: (error.details ?? []).map((one) => `${one.mspId}: ${one.message}`),
});

try {
  const network = gateway.getNetwork(CHANNEL);
  const contract = network.getContract(CHAINCODE);
  const events = await network.getChaincodeEvents(CHAINCODE);

  const put = await contract.submitAsync('put', { arguments: ['from-node', 'one'] });
  const state = await put.getStatus();
  const notified = await contract.submitAsync('event', { arguments: ['greeting', 'hello from Node'] });
  let event;
  for await (event of events) {
    break;
  }
  events.close();
  const refused = await contract.submitTransaction('fail', 'no such model').then(
    () => new Error('the contract\'s error did not arrive'),
    (error) => error,
  );
  console.log(JSON.stringify({
    submitted: text(put.getResult()),
    evaluated: text(await contract.evaluateTransaction('get', 'from-node')),
    event: event.eventName,
    payload: text(event.payload),
    tx_matches: event.transactionId === notified.getTransactionId(),
    valid: state.successful,
    failure: describe(refused),
  }));
} finally {
  gateway.close();
  client.close();
}
