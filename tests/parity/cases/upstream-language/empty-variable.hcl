variable "N" {}
target "default" { args = { empty = equal(N, "") } }
