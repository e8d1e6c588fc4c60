function "a" {
 params=[]
 result="1"
}
function "a" {
 params=[]
 result="2"
}
target "default" {
  args = {
    v = a()
  }
}
