target "default" {
  extra-hosts = ["a"]
}
