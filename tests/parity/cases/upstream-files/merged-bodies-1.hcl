A = "1"
B = "1"
variable "V" { default = "1" }
function "f" {
  params = []
  result = "1"
}
group "g" { targets = ["a"] }
target "a" { tags = ["1"] }
target "a" { args = { a = A } }
