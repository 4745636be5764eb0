// The official Go client under the load that ../__init__.py describes.
package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

type figures struct {
	Calls int     `json:"calls"`
	Wall  float64 `json:"wall_s"`
	CPU   float64 `json:"cpu_s"`
	P50   float64 `json:"p50_ms"`
}

type run struct {
	latencies []time.Duration
	wall, cpu float64
}

var value = strings.Repeat("v", 100)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func cpu() float64 {
	var usage syscall.Rusage
	must(0, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func connect() (*grpc.ClientConn, *client.Gateway) {
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
	return connection, must(client.Connect(id,
		client.WithHash(hash.SHA256), client.WithClientConnection(connection), client.WithSign(sign)))
}

func forAWhile(call func(string, ...string) ([]byte, error), seconds float64, inFlight int) run {
	var number atomic.Int64
	var lock sync.Mutex
	var workers sync.WaitGroup
	var found run
	prefix := fmt.Sprintf("%s/%d", os.Getenv("PREFIX"), time.Now().UnixNano())
	began, before := time.Now(), cpu()
	end := began.Add(time.Duration(seconds * float64(time.Second)))
	for range inFlight {
		workers.Add(1)
		go func() {
			defer workers.Done()
			latencies := []time.Duration{}
			for start := time.Now(); start.Before(end); start = time.Now() {
				must(call("update", fmt.Sprintf("%s/%d", prefix, number.Add(1)), value))
				latencies = append(latencies, time.Since(start))
			}
			lock.Lock()
			defer lock.Unlock()
			found.latencies = append(found.latencies, latencies...)
		}()
	}
	workers.Wait()
	found.wall, found.cpu = time.Since(began).Seconds(), cpu()-before
	return found
}

func median(latencies []time.Duration) float64 {
	slices.Sort(latencies)
	return float64(latencies[len(latencies)/2]) / float64(time.Millisecond)
}

func main() {
	connection, gateway := connect()
	defer connection.Close()
	defer gateway.Close()
	contract := gateway.GetNetwork(os.Getenv("CHANNEL")).GetContract(os.Getenv("CHAINCODE"))
	inFlight := must(strconv.Atoi(os.Getenv("IN_FLIGHT")))

	var kind string
	var seconds float64
	for {
		if _, err := fmt.Scanln(&kind, &seconds); err != nil {
			return
		}
		found := run{}
		if kind == "submit" {
			found = forAWhile(contract.SubmitTransaction, seconds, inFlight)
		} else {
			found = forAWhile(contract.EvaluateTransaction, seconds, 1)
		}
		must(0, json.NewEncoder(os.Stdout).Encode(figures{
			Calls: len(found.latencies), Wall: found.wall, CPU: found.cpu, P50: median(found.latencies),
		}))
	}
}
