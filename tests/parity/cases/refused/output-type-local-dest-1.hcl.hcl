target "default" {
  output = ["type=local,dest=1.hcl"]
}
