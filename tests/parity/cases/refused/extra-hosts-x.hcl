target "default" {
  extra-hosts = ["x"]
}
