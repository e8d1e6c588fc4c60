target "p" {
  output = ["type=image"]
  secret = ["id=t,env=T"]
}
target "a" { inherits = ["p"] }
target "b" { inherits = ["p"] }
