group "g" {
  name    = "h"
  targets = ["a"]
}
target "a" {}
