package example;

import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.hyperledger.fabric.contract.ClientIdentity;
import org.hyperledger.fabric.metrics.Metrics;
import org.hyperledger.fabric.shim.ChaincodeBase;
import org.hyperledger.fabric.shim.ChaincodeServerProperties;
import org.hyperledger.fabric.shim.ChaincodeStub;
import org.hyperledger.fabric.shim.NettyChaincodeServer;
import org.hyperledger.fabric.shim.ext.sbe.StateBasedEndorsement;
import org.hyperledger.fabric.shim.ext.sbe.impl.StateBasedEndorsementFactory;
import org.hyperledger.fabric.shim.ledger.CompositeKey;
import org.hyperledger.fabric.shim.ledger.KeyModification;
import org.hyperledger.fabric.shim.ledger.KeyValue;
import org.hyperledger.fabric.shim.ledger.QueryResultsIterator;
import org.hyperledger.fabric.shim.ledger.QueryResultsIteratorWithMetadata;
import org.hyperledger.fabric.traces.Traces;

/**
 * A chaincode on Fabric's Java shim: state, ranges, pages, composite keys, private data, key-level policies, events, calls.
 *
 * <p>Serves at CHAINCODE_SERVER_ADDRESS as CHAINCODE_ID. The chaincodes in the folders beside answer alike.
 */
public final class Chaincode extends ChaincodeBase {
    private static final class Absent extends RuntimeException {
        Absent(final String key) {
            super("no key '" + key + "'");
        }
    }

    private interface Function {
        Object run(ChaincodeStub stub, List<String> args) throws Exception;
    }

    private static final Map<String, Function> FUNCTIONS = new TreeMap<>();

    static {
        FUNCTIONS.put("put", (stub, args) -> {
            stub.putState(args.get(0), bytes(args.get(1)));
            return null;
        });
        FUNCTIONS.put("get", (stub, args) -> {
            final byte[] value = stub.getState(args.get(0));
            if (value == null || value.length == 0) {
                throw new Absent(args.get(0));
            }
            return value;
        });
        FUNCTIONS.put("delete", (stub, args) -> {
            stub.delState(args.get(0));
            return null;
        });
        FUNCTIONS.put("fill", (stub, args) -> {
            for (int i = 0; i < Integer.parseInt(args.get(1)); i++) {
                stub.putState(String.format("%s%04d", args.get(0), i), bytes(String.valueOf(i)));
            }
            return null;
        });
        FUNCTIONS.put("range", (stub, args) -> rows(stub.getStateByRange(args.get(0), args.get(1))));
        FUNCTIONS.put("page", (stub, args) -> {
            final QueryResultsIteratorWithMetadata<KeyValue> found = stub.getStateByRangeWithPagination(
                    args.get(0), args.get(1), Integer.parseInt(args.get(2)), args.get(3));
            final String rows = rows(found);
            return "{\"rows\":" + rows + ",\"bookmark\":" + quoted(found.getMetadata().getBookmark()) + ",\"fetched\":"
                    + found.getMetadata().getFetchedRecordsCount() + "}";
        });
        FUNCTIONS.put("putc", (stub, args) -> {
            final String key = new CompositeKey(args.get(0), args.subList(1, args.size() - 1)).toString();
            stub.putState(key, bytes(args.get(args.size() - 1)));
            return null;
        });
        FUNCTIONS.put("rangec", (stub, args) -> {
            final CompositeKey prefix = new CompositeKey(args.get(0), args.subList(1, args.size()));
            final List<String> found = new ArrayList<>();
            try (QueryResultsIterator<KeyValue> iterator = stub.getStateByPartialCompositeKey(prefix)) {
                for (final KeyValue row : iterator) {
                    final List<String> attributes = stub.splitCompositeKey(row.getKey()).getAttributes();
                    found.add(list(quoted(attributes.get(attributes.size() - 1)), quoted(row.getStringValue())));
                }
            }
            return list(found.toArray(new String[0]));
        });
        FUNCTIONS.put("history", (stub, args) -> {
            final List<String> found = new ArrayList<>();
            try (QueryResultsIterator<KeyModification> iterator = stub.getHistoryForKey(args.get(0))) {
                for (final KeyModification change : iterator) {
                    found.add(list(quoted(change.getStringValue()), String.valueOf(change.isDeleted())));
                }
            }
            return list(found.toArray(new String[0]));
        });
        FUNCTIONS.put("event", (stub, args) -> {
            stub.setEvent(args.get(0), bytes(args.get(1)));
            return null;
        });
        FUNCTIONS.put("fail", (stub, args) -> {
            throw new IllegalStateException(args.get(0));
        });
        FUNCTIONS.put("pput", (stub, args) -> {
            stub.putPrivateData(args.get(0), args.get(1), stub.getTransient().get("value"));
            return null;
        });
        FUNCTIONS.put("pget", (stub, args) -> stub.getPrivateData(args.get(0), args.get(1)));
        FUNCTIONS.put("phash", (stub, args) ->
                HexFormat.of().formatHex(stub.getPrivateDataHash(args.get(0), args.get(1))));
        FUNCTIONS.put("prange", (stub, args) ->
                rows(stub.getPrivateDataByRange(args.get(0), args.get(1), args.get(2))));
        FUNCTIONS.put("pdel", (stub, args) -> {
            stub.delPrivateData(args.get(0), args.get(1));
            return null;
        });
        FUNCTIONS.put("ppurge", (stub, args) -> {
            stub.purgePrivateData(args.get(0), args.get(1));
            return null;
        });
        FUNCTIONS.put("setpolicy", (stub, args) -> {
            final StateBasedEndorsement policy =
                    StateBasedEndorsementFactory.getInstance().newStateBasedEndorsement(null);
            policy.addOrgs(StateBasedEndorsement.RoleType.RoleTypePeer,
                    args.subList(1, args.size()).toArray(new String[0]));
            stub.setStateValidationParameter(args.get(0), policy.policy());
            return null;
        });
        FUNCTIONS.put("policy", (stub, args) -> {
            final byte[] raw = stub.getStateValidationParameter(args.get(0));
            final List<String> found = new ArrayList<>();
            for (final String one : StateBasedEndorsementFactory.getInstance().newStateBasedEndorsement(raw).listOrgs()) {
                found.add(quoted(one));
            }
            return list(found.toArray(new String[0]));
        });
        FUNCTIONS.put("whoami", (stub, args) -> {
            final ClientIdentity identity = new ClientIdentity(stub);
            final X509Certificate certificate = identity.getX509Certificate();
            String name = "";
            for (final String part : certificate.getSubjectX500Principal().getName().split(",")) {
                if (part.startsWith("CN=")) {
                    name = part.substring(3);
                }
            }
            return "{\"msp_id\":" + quoted(identity.getMSPID()) + ",\"common_name\":" + quoted(name) + "}";
        });
        FUNCTIONS.put("call", (stub, args) -> {
            final Response response =
                    stub.invokeChaincodeWithStringArgs(args.get(0), args.subList(1, args.size()), "");
            if (response.getStatusCode() != Response.Status.SUCCESS.getCode()) {
                throw new IllegalStateException("callee: " + response.getMessage());
            }
            return response.getPayload();
        });
    }

    private static byte[] bytes(final String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String quoted(final String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
    }

    private static String list(final String... items) {
        return "[" + String.join(",", items) + "]";
    }

    private static <T extends Iterable<KeyValue> & AutoCloseable> String rows(final T iterator) throws Exception {
        final List<String> found = new ArrayList<>();
        try (iterator) {
            for (final KeyValue row : iterator) {
                found.add(list(quoted(row.getKey()), quoted(row.getStringValue())));
            }
        }
        return list(found.toArray(new String[0]));
    }

    @Override
    public Response init(final ChaincodeStub stub) {
        return new Response(Response.Status.SUCCESS.getCode(), "", new byte[0]);
    }

    @Override
    public Response invoke(final ChaincodeStub stub) {
        final Function function = FUNCTIONS.get(stub.getFunction());
        if (function == null) {
            return new Response(500, "unknown function " + stub.getFunction(), new byte[0]);
        }
        try {
            final Object result = function.run(stub, stub.getParameters());
            final byte[] payload = result == null ? new byte[0]
                    : result instanceof byte[] ? (byte[]) result : bytes(result.toString());
            return new Response(200, "", payload);
        } catch (final Absent error) {
            return new Response(400, error.getMessage(), new byte[0]);
        } catch (final Exception error) {
            return new Response(500, String.valueOf(error.getMessage()), new byte[0]);
        }
    }

    /** Serve until the process ends. */
    public static void main(final String[] args) throws Exception {
        final String address = System.getenv("CHAINCODE_SERVER_ADDRESS");
        final int colon = address.lastIndexOf(':');
        final ChaincodeServerProperties properties = new ChaincodeServerProperties();
        properties.setServerAddress(
                new InetSocketAddress(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1))));
        properties.setTlsEnabled(false);
        final Chaincode chaincode = new Chaincode();
        chaincode.processCommandLineOptions(new String[] {"-i", System.getenv("CHAINCODE_ID")});
        Metrics.initialize(chaincode.getChaincodeConfig());
        Traces.initialize(chaincode.getChaincodeConfig());
        new NettyChaincodeServer(chaincode, properties).start();
    }
}
