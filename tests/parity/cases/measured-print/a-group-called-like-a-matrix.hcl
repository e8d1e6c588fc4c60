target "l" {
  matrix = { v = ["1", "2"] }
  name   = "l${v}"
}
group "l" { targets = ["l1"] }
