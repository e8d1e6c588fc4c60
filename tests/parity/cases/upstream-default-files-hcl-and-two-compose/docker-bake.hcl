target "hcl" {}
