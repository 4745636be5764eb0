// The operations of benchmarks/operations/server.py in Go, on fabric-chaincode-go.
//
// Reads CHAINCODE_SERVER_ADDRESS and CHAINCODE_ID from the environment.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

type account struct {
	Balance int      `json:"balance"`
	Owner   string   `json:"owner"`
	Tags    []string `json:"tags"`
}

type operations struct{}

func (operations) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (operations) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	payload, err := run(stub)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(payload)
}

func run(stub shim.ChaincodeStubInterface) ([]byte, error) {
	function, args := stub.GetFunctionAndParameters()
	switch function {
	case "fill":
		return nil, fill(stub, args[0], args[1])
	case "put":
		return nil, stub.PutState(args[0], []byte(args[1]))
	case "update":
		before, err := stub.GetState(args[0])
		if err != nil {
			return nil, err
		}
		return before, stub.PutState(args[0], []byte(args[1]))
	case "pay":
		return nil, pay(stub, args[0], args[1])
	case "many":
		return nil, many(stub, args[0])
	case "range":
		return rangeOf(stub, args[0], args[1])
	case "index":
		key, err := stub.CreateCompositeKey("index", []string{args[0], args[1]})
		if err != nil {
			return nil, err
		}
		if err := stub.SetEvent("indexed", []byte(args[1])); err != nil {
			return nil, err
		}
		return nil, stub.PutState(key, []byte{1})
	case "seal":
		transient, err := stub.GetTransient()
		if err != nil {
			return nil, err
		}
		return nil, stub.PutPrivateData("sealed", args[0], transient["value"])
	}
	return nil, fmt.Errorf("no function %s", function)
}

func fill(stub shim.ChaincodeStubInterface, prefix string, number string) error {
	count, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	value, err := json.Marshal(account{Balance: 1000000, Owner: "Org1MSP", Tags: []string{"a", "b"}})
	if err != nil {
		return err
	}
	stub.StartWriteBatch()
	for i := 0; i < count; i++ {
		if err := stub.PutState(fmt.Sprintf("%s%04d", prefix, i), value); err != nil {
			return err
		}
	}
	return stub.FinishWriteBatch()
}

func pay(stub shim.ChaincodeStubInterface, payer string, payee string) error {
	values, err := stub.GetMultipleStates(payer, payee)
	if err != nil {
		return err
	}
	var accounts [2]account
	for i, value := range values {
		if err := json.Unmarshal(value, &accounts[i]); err != nil {
			return err
		}
	}
	accounts[0].Balance--
	accounts[1].Balance++
	stub.StartWriteBatch()
	for i, key := range []string{payer, payee} {
		value, err := json.Marshal(accounts[i])
		if err != nil {
			return err
		}
		if err := stub.PutState(key, value); err != nil {
			return err
		}
	}
	return stub.FinishWriteBatch()
}

func many(stub shim.ChaincodeStubInterface, prefix string) error {
	keys := make([]string, 20)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%04d", prefix, i)
	}
	values, err := stub.GetMultipleStates(keys...)
	if err != nil {
		return err
	}
	stub.StartWriteBatch()
	for i, key := range keys {
		if err := stub.PutState(key, append(values[i], '.')); err != nil {
			return err
		}
	}
	return stub.FinishWriteBatch()
}

func rangeOf(stub shim.ChaincodeStubInterface, start string, end string) ([]byte, error) {
	found, err := stub.GetStateByRange(start, end)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	total := 0
	for found.HasNext() {
		item, err := found.Next()
		if err != nil {
			return nil, err
		}
		var one account
		if err := json.Unmarshal(item.Value, &one); err != nil {
			return nil, err
		}
		total += one.Balance
	}
	return []byte(strconv.Itoa(total)), nil
}

func main() {
	server := shim.ChaincodeServer{
		CCID:     os.Getenv("CHAINCODE_ID"),
		Address:  os.Getenv("CHAINCODE_SERVER_ADDRESS"),
		CC:       operations{},
		TLSProps: shim.TLSProperties{Disabled: true},
	}
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
}
