function "next" {
  params = [n]
  result = n + 1
}
target "default" { args = { n = "${next(41)}" } }
