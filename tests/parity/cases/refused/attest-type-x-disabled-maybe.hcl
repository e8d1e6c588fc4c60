target "default" {
  attest = ["type=x,disabled=maybe"]
}
