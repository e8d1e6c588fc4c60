target "x" { tags = ["a", "b"] }
target "default" {
  tags   = target.x.tags
  matrix = { unused = [""] }
}
