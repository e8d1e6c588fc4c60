target "hcl" {}
target "x" { tags = ["hcl"] }
