target "app" {
 matrix = { a = ["1"] }
 args={a=a}
}
