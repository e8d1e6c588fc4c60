target "b" { description = "Builds b" }
target "a" {}
