"""Build an enclave for Gramine: gather what is measured, render its manifest, say what goes into the measurement."""
