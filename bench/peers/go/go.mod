module sheave.bench/peers

go 1.19
