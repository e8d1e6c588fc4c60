target "x" { tags = ["override-hcl"] }
target "override" {}
