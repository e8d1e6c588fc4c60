target "t" {
  output = ["./out"]
}
