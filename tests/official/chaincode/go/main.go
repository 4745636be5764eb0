// A chaincode on Fabric's Go shim: state, ranges, pages, composite keys, private data, key-level policies, events, calls.
//
// Serves at CHAINCODE_SERVER_ADDRESS as CHAINCODE_ID. The chaincodes in the folders beside answer alike.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/statebased"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

type chaincode struct{}

type function func(shim.ChaincodeStubInterface, []string) (any, error)

// absent is a key without a value: the response has status 400.
type absent struct{ key string }

func (a absent) Error() string { return fmt.Sprintf("no key '%s'", a.key) }

var functions = map[string]function{
	"put": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		return nil, stub.PutState(args[0], []byte(args[1]))
	},
	"get": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		value, err := stub.GetState(args[0])
		if err == nil && value == nil {
			err = absent{args[0]}
		}
		return value, err
	},
	"delete": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		return nil, stub.DelState(args[0])
	},
	"fill": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		count, err := strconv.Atoi(args[1])
		for i := 0; i < count && err == nil; i++ {
			err = stub.PutState(fmt.Sprintf("%s%04d", args[0], i), []byte(strconv.Itoa(i)))
		}
		return nil, err
	},
	"range": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		return rows(stub.GetStateByRange(args[0], args[1]))
	},
	"page": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		size, _ := strconv.Atoi(args[2])
		iterator, metadata, err := stub.GetStateByRangeWithPagination(args[0], args[1], int32(size), args[3])
		found, err := rows(iterator, err)
		if err != nil {
			return nil, err
		}
		return map[string]any{"rows": found, "bookmark": metadata.GetBookmark(), "fetched": metadata.GetFetchedRecordsCount()}, nil
	},
	"putc": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		key, err := stub.CreateCompositeKey(args[0], args[1:len(args)-1])
		if err != nil {
			return nil, err
		}
		return nil, stub.PutState(key, []byte(args[len(args)-1]))
	},
	"rangec": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		found, err := rows(stub.GetStateByPartialCompositeKey(args[0], args[1:]))
		for _, row := range found {
			_, attributes, _ := stub.SplitCompositeKey(row[0])
			row[0] = attributes[len(attributes)-1]
		}
		return found, err
	},
	"history": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		iterator, err := stub.GetHistoryForKey(args[0])
		found := []any{}
		for err == nil && iterator.HasNext() {
			change, failed := iterator.Next()
			if err = failed; err == nil {
				found = append(found, []any{string(change.GetValue()), change.GetIsDelete()})
			}
		}
		return found, err
	},
	"event": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		return nil, stub.SetEvent(args[0], []byte(args[1]))
	},
	"fail": func(_ shim.ChaincodeStubInterface, args []string) (any, error) {
		return nil, fmt.Errorf("%s", args[0])
	},
	"pput": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		transient, err := stub.GetTransient()
		if err != nil {
			return nil, err
		}
		return nil, stub.PutPrivateData(args[0], args[1], transient["value"])
	},
	"pget": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		return stub.GetPrivateData(args[0], args[1])
	},
	"phash": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		hash, err := stub.GetPrivateDataHash(args[0], args[1])
		return []byte(hex.EncodeToString(hash)), err
	},
	"prange": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		return rows(stub.GetPrivateDataByRange(args[0], args[1], args[2]))
	},
	"pdel": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		return nil, stub.DelPrivateData(args[0], args[1])
	},
	"ppurge": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		return nil, stub.PurgePrivateData(args[0], args[1])
	},
	"setpolicy": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		policy, err := statebased.NewStateEP(nil)
		if err == nil {
			err = policy.AddOrgs(statebased.RoleTypePeer, args[1:]...)
		}
		if err != nil {
			return nil, err
		}
		raw, err := policy.Policy()
		if err != nil {
			return nil, err
		}
		return nil, stub.SetStateValidationParameter(args[0], raw)
	},
	"policy": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		raw, err := stub.GetStateValidationParameter(args[0])
		if err != nil {
			return nil, err
		}
		policy, err := statebased.NewStateEP(raw)
		if err != nil {
			return nil, err
		}
		return policy.ListOrgs(), nil
	},
	"whoami": func(stub shim.ChaincodeStubInterface, _ []string) (any, error) {
		identity, err := cid.New(stub)
		if err != nil {
			return nil, err
		}
		msp, _ := identity.GetMSPID()
		certificate, err := identity.GetX509Certificate()
		if err != nil {
			return nil, err
		}
		return map[string]string{"msp_id": msp, "common_name": certificate.Subject.CommonName}, nil
	},
	"call": func(stub shim.ChaincodeStubInterface, args []string) (any, error) {
		passed := [][]byte{}
		for _, arg := range args[1:] {
			passed = append(passed, []byte(arg))
		}
		response := stub.InvokeChaincode(args[0], passed, "")
		if response.GetStatus() != shim.OK {
			return nil, fmt.Errorf("callee: %s", response.GetMessage())
		}
		return response.GetPayload(), nil
	},
}

func rows(iterator shim.StateQueryIteratorInterface, err error) ([][]string, error) {
	if err != nil {
		return nil, err
	}
	defer iterator.Close()
	found := [][]string{}
	for iterator.HasNext() {
		row, err := iterator.Next()
		if err != nil {
			return nil, err
		}
		found = append(found, []string{row.GetKey(), string(row.GetValue())})
	}
	return found, nil
}

func (chaincode) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (chaincode) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	name, args := stub.GetFunctionAndParameters()
	run, known := functions[name]
	if !known {
		return shim.Error("unknown function " + name)
	}
	result, err := run(stub, args)
	if missing, ok := err.(absent); ok {
		return &peer.Response{Status: 400, Message: missing.Error()}
	}
	if err != nil {
		return shim.Error(err.Error())
	}
	switch value := result.(type) {
	case nil:
		return shim.Success(nil)
	case []byte:
		return shim.Success(value)
	}
	payload, err := json.Marshal(result)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(payload)
}

func main() {
	server := &shim.ChaincodeServer{
		CCID:     os.Getenv("CHAINCODE_ID"),
		Address:  os.Getenv("CHAINCODE_SERVER_ADDRESS"),
		CC:       chaincode{},
		TLSProps: shim.TLSProperties{Disabled: true},
	}
	if err := server.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
