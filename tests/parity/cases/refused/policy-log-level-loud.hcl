target "default" {
  policy = ["log-level=loud"]
}
