// The official Go client against a network: everything that a client does, in the order of the printed object's keys.
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
	Submitted    string             `json:"submitted"`
	Evaluated    string             `json:"evaluated"`
	Event        string             `json:"event"`
	Payload      string             `json:"payload"`
	TxMatches    bool               `json:"tx_matches"`
	Valid        bool               `json:"valid"`
	Block        bool               `json:"block"`
	Filtered     bool               `json:"filtered"`
	Private      bool               `json:"private"`
	Resumed      string             `json:"resumed"`
	Offline      string             `json:"offline"`
	OfflineValid bool               `json:"offline_valid"`
	Conflict     []int32            `json:"conflict"`
	Failures     map[string]failure `json:"failures"`
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

// Connect three times: as a client that signs, one that can't, and the signature that makes up for it.
func connect() (*grpc.ClientConn, *client.Gateway, *client.Gateway, identity.Sign) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(must(os.ReadFile(os.Getenv("TLS_ROOT")))) {
		must(0, errors.New("TLS_ROOT holds no certificate"))
	}
	transport := grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, ""))
	connection := must(grpc.NewClient(os.Getenv("ENDPOINT"), transport))
	certificate := must(identity.CertificateFromPEM(must(os.ReadFile(os.Getenv("CERTIFICATE")))))
	key := must(identity.PrivateKeyFromPEM(must(os.ReadFile(os.Getenv("PRIVATE_KEY")))))
	id := must(identity.NewX509Identity(os.Getenv("MSP_ID"), certificate))
	sign := must(identity.NewPrivateKeySign(key))
	options := []client.ConnectOption{client.WithHash(hash.SHA256), client.WithClientConnection(connection)}
	unsigned := must(client.Connect(id, options...))
	return connection, must(client.Connect(id, append(options, client.WithSign(sign))...)), unsigned, sign
}

func describe(err error) failure {
	var endorse *client.EndorseError
	var submit *client.SubmitError
	var commitStatus *client.CommitStatusError
	var commit *client.CommitError
	made := failure{Kind: "GatewayError", Message: err.Error(), Details: []string{}}
	switch {
	case errors.As(err, &endorse):
		made.Kind = "EndorseError"
	case errors.As(err, &submit):
		made.Kind = "SubmitError"
	case errors.As(err, &commitStatus):
		made.Kind = "CommitStatusError"
	case errors.As(err, &commit):
		made.Kind = "CommitError"
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

func refusal(_ any, err error) failure {
	if err == nil {
		return failure{Kind: "none"}
	}
	return describe(err)
}

// Every message is signed apart from where it is made, as by a wallet that is offline.
func offline(contract *client.Contract, unsigned *client.Gateway, sign identity.Sign, seen *outcome) {
	proposal := must(contract.NewProposal("put", client.WithArguments("offline", "signed elsewhere")))
	wrong := must(sign(proposal.Digest()))
	signed := must(unsigned.NewSignedProposal(must(proposal.Bytes()), wrong))
	transaction := must(signed.Endorse())
	seen.Failures["submit"] = refusal(must(unsigned.NewSignedTransaction(must(transaction.Bytes()), wrong)).Submit())
	ready := must(unsigned.NewSignedTransaction(must(transaction.Bytes()), must(sign(transaction.Digest()))))
	commit := must(ready.Submit())
	seen.Failures["status"] = refusal(must(unsigned.NewSignedCommit(must(commit.Bytes()), wrong)).Status())
	state := must(must(unsigned.NewSignedCommit(must(commit.Bytes()), must(sign(commit.Digest())))).Status())
	seen.OfflineValid = state.Successful
	query := must(contract.NewProposal("get", client.WithArguments("offline")))
	asked := must(unsigned.NewSignedProposal(must(query.Bytes()), must(sign(query.Digest()))))
	seen.Offline = string(must(asked.Evaluate()))
}

func conflict(contract *client.Contract) []int32 {
	must(contract.SubmitTransaction("put", "go-sum", "0"))
	transactions := []*client.Transaction{}
	for range 2 {
		proposal := must(contract.NewProposal("add", client.WithArguments("go-sum", "1")))
		transactions = append(transactions, must(proposal.Endorse()))
	}
	commits, codes := []*client.Commit{}, []int32{}
	for _, transaction := range transactions {
		commits = append(commits, must(transaction.Submit()))
	}
	for _, commit := range commits {
		codes = append(codes, int32(must(commit.Status()).Code))
	}
	return codes
}

func main() {
	connection, gw, unsigned, sign := connect()
	defer connection.Close()
	defer gw.Close()
	defer unsigned.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()

	chaincode := os.Getenv("CHAINCODE")
	network := gw.GetNetwork(os.Getenv("CHANNEL"))
	contract := network.GetContract(chaincode)
	events := must(network.ChaincodeEvents(ctx, chaincode))

	result, commit, err := contract.SubmitAsync("put", client.WithArguments("from-go", "one"))
	must(0, err)
	state := must(commit.Status())
	_, notified, err := contract.SubmitAsync("event", client.WithArguments("greeting", "hello from Go"))
	must(0, err)
	event := <-events
	start := client.WithStartBlock(state.BlockNumber)
	block := <-must(network.BlockEvents(ctx, start))
	filtered := <-must(network.FilteredBlockEvents(ctx, start))
	whole := <-must(network.BlockAndPrivateDataEvents(ctx, start))
	checkpoint := new(client.InMemoryCheckpointer)
	checkpoint.CheckpointTransaction(event.BlockNumber-1, "")
	resumed := ""
	for again := range must(network.ChaincodeEvents(ctx, chaincode, client.WithCheckpoint(checkpoint))) {
		if again.TransactionID == event.TransactionID {
			resumed = again.EventName
			break
		}
	}

	printed := outcome{
		Submitted: string(result),
		Evaluated: string(must(contract.EvaluateTransaction("get", "from-go"))),
		Event:     event.EventName,
		Payload:   string(event.Payload),
		TxMatches: event.TransactionID == notified.TransactionID(),
		Valid:     state.Successful,
		Block:     block.GetHeader().GetNumber() == state.BlockNumber,
		Private:   whole.GetBlock().GetHeader().GetNumber() == state.BlockNumber,
		Resumed:   resumed,
		Failures: map[string]failure{
			"endorse":  refusal(contract.SubmitTransaction("fail", "no such model")),
			"evaluate": refusal(contract.EvaluateTransaction("get", "never")),
			"unknown":  refusal(network.GetContract("nosuch").EvaluateTransaction("get", "a")),
		},
	}
	for _, one := range filtered.GetFilteredTransactions() {
		printed.Filtered = printed.Filtered || one.GetTxid() == commit.TransactionID()
	}
	offline(contract, unsigned, sign, &printed)
	printed.Conflict = conflict(contract)
	must(0, json.NewEncoder(os.Stdout).Encode(printed))
}
