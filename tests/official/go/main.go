// The official Go client against a network: submit, evaluate, an event, a contract's error.
//
// Reads ENDPOINT, TLS_ROOT, MSP_ID, CERTIFICATE, PRIVATE_KEY, CHANNEL and CHAINCODE from the environment (files for the
// three in the middle) and prints one JSON object.
package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

type failure struct {
	Kind    string   `json:"kind"`
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Details []string `json:"details"`
}

type outcome struct {
	Submitted string  `json:"submitted"`
	Evaluated string  `json:"evaluated"`
	Event     string  `json:"event"`
	Payload   string  `json:"payload"`
	TxMatches bool    `json:"tx_matches"`
	Valid     bool    `json:"valid"`
	Failure   failure `json:"failure"`
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func connect() (*grpc.ClientConn, *client.Gateway) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(must(os.ReadFile(os.Getenv("TLS_ROOT")))) {
		must(0, errors.New("TLS_ROOT holds no certificate"))
	}
	connection := must(grpc.NewClient(os.Getenv("ENDPOINT"), grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, ""))))
	certificate := must(identity.CertificateFromPEM(must(os.ReadFile(os.Getenv("CERTIFICATE")))))
	key := must(identity.PrivateKeyFromPEM(must(os.ReadFile(os.Getenv("PRIVATE_KEY")))))
	gw := must(client.Connect(
		must(identity.NewX509Identity(os.Getenv("MSP_ID"), certificate)),
		client.WithSign(must(identity.NewPrivateKeySign(key))),
		client.WithHash(hash.SHA256),
		client.WithClientConnection(connection),
	))
	return connection, gw
}

func describe(err error) failure {
	var endorse *client.EndorseError
	made := failure{Kind: fmt.Sprintf("%T", err), Message: err.Error()}
	if errors.As(err, &endorse) {
		made.Kind = "EndorseError"
	}
	state := status.Convert(err)
	made.Code = state.Code().String()
	for _, detail := range state.Details() {
		if one, ok := detail.(*gateway.ErrorDetail); ok {
			made.Details = append(made.Details, one.GetMspId()+": "+one.GetMessage())
		}
	}
	return made
}

func main() {
	connection, gw := connect()
	defer connection.Close()
	defer gw.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	network := gw.GetNetwork(os.Getenv("CHANNEL"))
	contract := network.GetContract(os.Getenv("CHAINCODE"))
	events := must(network.ChaincodeEvents(ctx, os.Getenv("CHAINCODE")))

	result, commit, err := contract.SubmitAsync("put", client.WithArguments("from-go", "one"))
	must(0, err)
	state := must(commit.Status())
	_, notified, err := contract.SubmitAsync("event", client.WithArguments("greeting", "hello from Go"))
	must(0, err)
	event := <-events
	_, refused := contract.SubmitTransaction("fail", "no such model")
	if refused == nil {
		must(0, errors.New("the contract's error did not arrive"))
	}

	printed := outcome{
		Submitted: string(result),
		Evaluated: string(must(contract.EvaluateTransaction("get", "from-go"))),
		Event:     event.EventName,
		Payload:   string(event.Payload),
		TxMatches: event.TransactionID == notified.TransactionID(),
		Valid:     state.Successful,
		Failure:   describe(refused),
	}
	must(0, json.NewEncoder(os.Stdout).Encode(printed))
}
