group "default" { targets = ["one", "one-a"] }
group "two" { targets = ["two-a", "two-b", "two-c"] }
target "one" {}
target "one-a" {}
target "one-b" {}
target "three-a" {}
target "two-a" {}
target "two-b" {}
target "two-c" {}
target "grid" {
  name   = "grid-${x}-${y}-${z}"
  matrix = {
    x = ["k"]
    y = ["l", "m"]
    z = ["n", "o", "p"]
  }
}
