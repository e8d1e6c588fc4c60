target "default" {
  ssh = ["x=1.hcl"]
}
