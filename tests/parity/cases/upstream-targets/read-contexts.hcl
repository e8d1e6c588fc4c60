target "below" {
  contexts = { one: "1", two: "2" }
}
target "t" {
  inherits = ["below"]
  contexts = { one: "uno" }
}
