#!/bin/bash
# metallb-healthcheck.sh
# Regular health check script for MetalLB HA

# Check controller replicas
CONTROLLER_READY=$(kubectl get deployment controller -n metallb-system -o jsonpath='{.status.readyReplicas}')
CONTROLLER_DESIRED=$(kubectl get deployment controller -n metallb-system -o jsonpath='{.spec.replicas}')

if [ "$CONTROLLER_READY" -lt "$CONTROLLER_DESIRED" ]; then
    echo "WARNING: Controller has $CONTROLLER_READY/$CONTROLLER_DESIRED replicas ready"
fi

# Check speaker pods
SPEAKER_READY=$(kubectl get daemonset speaker -n metallb-system -o jsonpath='{.status.numberReady}')
SPEAKER_DESIRED=$(kubectl get daemonset speaker -n metallb-system -o jsonpath='{.status.desiredNumberScheduled}')

if [ "$SPEAKER_READY" -lt "$SPEAKER_DESIRED" ]; then
    echo "WARNING: Speaker has $SPEAKER_READY/$SPEAKER_DESIRED pods ready"
fi

# Check for services without IPs
PENDING_SERVICES=$(kubectl get svc -A -o jsonpath='{.items[?(@.spec.type=="LoadBalancer")].metadata.name}' | wc -w)
PENDING_IPS=$(kubectl get svc -A -o jsonpath='{.items[?(@.status.loadBalancer.ingress==null)].metadata.name}' | wc -w)

if [ "$PENDING_IPS" -gt 0 ]; then
    echo "WARNING: $PENDING_IPS LoadBalancer services are pending external IPs"
fi

# Check BGP sessions (if using BGP mode)
kubectl logs -n metallb-system -l component=speaker --tail=100 | grep -E "session (up|down)" | tail -5

echo "Health check completed at $(date)"
