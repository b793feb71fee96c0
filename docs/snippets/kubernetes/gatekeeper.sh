cat > allowed-repos.yaml <<EOF
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sAllowedRepos
metadata:
  name: allowed-repos
spec:
  enforcementAction: deny
  match:
    kinds:
      - apiGroups: [""]
        kinds: [Pod]
    excludedNamespaces: [kube-system, gatekeeper-system]
  parameters:
    repos: $(output GatekeeperAllowedRepos)
EOF
kubectl apply -f allowed-repos.yaml
