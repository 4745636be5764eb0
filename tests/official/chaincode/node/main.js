// A chaincode on Fabric's Node shim: state, ranges, pages, composite keys, private data, key-level policies, events,
// calls.
//
// Serves at CHAINCODE_SERVER_ADDRESS as CHAINCODE_ID. The chaincodes in the folders beside answer alike.
'use strict';
const shim = require('fabric-shim');
const { KeyEndorsementPolicy } = shim;

const text = (bytes) => Buffer.from(bytes).toString('utf8');

async function rows(iterator) {
  const found = [];
  for (;;) {
    const { value, done } = await iterator.next();
    if (value) {
      found.push([value.key, text(value.value)]);
    }
    if (done) {
      await iterator.close();
      return found;
    }
  }
}

class Absent extends Error {}

const functions = {
  put: (stub, key, value) => stub.putState(key, Buffer.from(value)),
  async get(stub, key) {
    const value = await stub.getState(key);
    if (!value || value.length === 0) {
      throw new Absent(`no key '${key}'`);
    }
    return value;
  },
  delete: (stub, key) => stub.deleteState(key),
  async fill(stub, prefix, count) {
    for (let i = 0; i < Number(count); i++) {
      await stub.putState(prefix + String(i).padStart(4, '0'), Buffer.from(String(i)));
    }
  },
  range: async (stub, start, end) => rows(await stub.getStateByRange(start, end)),
  async page(stub, start, end, size, bookmark) {
    const { iterator, metadata } = await stub.getStateByRangeWithPagination(start, end, Number(size), bookmark);
    return { rows: await rows(iterator), bookmark: metadata.bookmark, fetched: metadata.fetchedRecordsCount };
  },
  putc(stub, type, ...rest) {
    const value = rest.pop();
    return stub.putState(stub.createCompositeKey(type, rest), Buffer.from(value));
  },
  async rangec(stub, type, ...attributes) {
    const found = await rows(await stub.getStateByPartialCompositeKey(type, attributes));
    return found.map(([key, value]) => [stub.splitCompositeKey(key).attributes.at(-1), value]);
  },
  async history(stub, key) {
    const iterator = await stub.getHistoryForKey(key);
    const found = [];
    for (;;) {
      const { value, done } = await iterator.next();
      if (value) {
        found.push([text(value.value), value.isDelete]);
      }
      if (done) {
        await iterator.close();
        return found;
      }
    }
  },
  event: (stub, name, payload) => { stub.setEvent(name, Buffer.from(payload)); },
  fail: (_, message) => { throw new Error(message); },
  pput: (stub, collection, key) => stub.putPrivateData(collection, key, stub.getTransient().get('value')),
  pget: (stub, collection, key) => stub.getPrivateData(collection, key),
  phash: async (stub, collection, key) => Buffer.from((await stub.getPrivateDataHash(collection, key)).toString('hex')),
  async prange(stub, collection, start, end) {
    const answer = await stub.getPrivateDataByRange(collection, start, end);
    return rows(answer.iterator ?? answer);
  },
  pdel: (stub, collection, key) => stub.deletePrivateData(collection, key),
  ppurge: (stub, collection, key) => stub.purgePrivateData(collection, key),
  setpolicy(stub, key, ...organizations) {
    const policy = new KeyEndorsementPolicy();
    policy.addOrgs('PEER', ...organizations);
    return stub.setStateValidationParameter(key, policy.getPolicy());
  },
  async policy(stub, key) {
    return new KeyEndorsementPolicy(await stub.getStateValidationParameter(key)).listOrgs();
  },
  whoami(stub) {
    const identity = new shim.ClientIdentity(stub);
    const [, name] = /CN=([^:/,\n]+)/.exec(identity.getID());
    return { msp_id: identity.getMSPID(), common_name: name };
  },
  async call(stub, name, ...args) {
    const response = await stub.invokeChaincode(name, args, '');
    if (response.status !== 200) {
      throw new Error(`callee: ${response.message}`);
    }
    return response.payload;
  },
};

class Chaincode {
  async Init() {
    return shim.success();
  }

  async Invoke(stub) {
    const { fcn, params } = stub.getFunctionAndParameters();
    if (!functions[fcn]) {
      return shim.error(Buffer.from(`unknown function ${fcn}`));
    }
    try {
      const result = await functions[fcn](stub, ...params);
      if (result === undefined || result === null) {
        return shim.success();
      }
      return shim.success(result instanceof Uint8Array ? Buffer.from(result) : Buffer.from(JSON.stringify(result)));
    } catch (error) {
      return { status: error instanceof Absent ? 400 : 500, message: error.message, payload: Buffer.alloc(0) };
    }
  }
}

shim.server(new Chaincode(), {
  ccid: process.env.CHAINCODE_ID,
  address: process.env.CHAINCODE_SERVER_ADDRESS,
}).start();
