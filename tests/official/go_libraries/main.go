// What Go's chaincode libraries make of things that ours made: a contract's metadata, an identity, key policies.
//
// Reads one JSON object with the fields of `question` and prints one with the fields of `answer`.
package main

import (
	"encoding/hex"
	"encoding/json"
	"log"
	"os"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/statebased"
	"github.com/hyperledger/fabric-contract-api-go/v2/metadata"
)

type question struct {
	Metadata json.RawMessage `json:"metadata"`
	Creator  []byte          `json:"creator"`
	Policy   []byte          `json:"policy"`
	Add      []string        `json:"add"`
	Remove   []string        `json:"remove"`
}

type answer struct {
	Functions    []string `json:"functions"`
	ID           string   `json:"id"`
	MSPID        string   `json:"msp_id"`
	Role         string   `json:"role"`
	Policy       string   `json:"policy"`
	Organization []string `json:"organizations"`
}

// sender is all of a stub that cid asks for.
type sender struct{ creator []byte }

func (s sender) GetCreator() ([]byte, error) { return s.creator, nil }

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatal(err)
	}
	var found answer

	var described metadata.ContractChaincodeMetadata
	if err := json.Unmarshal(asked.Metadata, &described); err != nil {
		log.Fatal(err)
	}
	if err := metadata.ValidateAgainstSchema(described); err != nil {
		log.Fatal(err)
	}
	if err := described.CompileSchemas(); err != nil {
		log.Fatal(err)
	}
	for _, contract := range described.Contracts {
		for _, transaction := range contract.Transactions {
			found.Functions = append(found.Functions, contract.Name+":"+transaction.Name)
		}
	}

	client := must(cid.New(sender{asked.Creator}))
	found.ID = must(client.GetID())
	found.MSPID = must(client.GetMSPID())
	found.Role, _, _ = client.GetAttributeValue("role")

	policy := must(statebased.NewStateEP(asked.Policy))
	if err := policy.AddOrgs(statebased.RoleTypePeer, asked.Add...); err != nil {
		log.Fatal(err)
	}
	policy.DelOrgs(asked.Remove...)
	found.Policy = hex.EncodeToString(must(policy.Policy()))
	found.Organization = policy.ListOrgs()

	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}
